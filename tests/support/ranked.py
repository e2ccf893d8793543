"""Processes that train together, as ranks that talk through gloo.

What is to be done is a list of plans: RUN, the config's JSON, the number of ranks and a task, see
`TASKS`.
"""

import json
import os
import select
import sys
import threading
from pathlib import Path

import torch

from mmtrain.config.run import TrainConfig
from mmtrain.errors import DataError
from mmtrain.methods.base import Method
from mmtrain.training import failure_watch
from mmtrain.training.parts import feed_of, fitted, model_of, shards_of
from mmtrain.training.ranks import join_ranks
from mmtrain.training.run import Run
from mmtrain.training.train import train
from tests.support import forked
from tests.support.methodwork import batch_normalised
from tests.support.ports import free_port

CPU = torch.device("cpu")


def carry_out(*plans):
    """Carries out plans in children of a process; raises if a rank fails. What is on stderr."""
    done = forked.start(carry_out_all, plans).wait()
    assert not done.returncode, done.stderr
    return done.stderr


def carry_out_all(plans):
    for plan in plans:
        carry_out_one(*plan)


def carry_out_one(folder, text, world, task="train", *given):
    folder, pipes = Path(folder), [os.pipe() for _ in range(2)]
    place = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    children = []
    for rank in range(world):
        child = os.fork()
        if not child:
            os.environ.update(place, RANK=str(rank))
            if task == "train":
                train(TrainConfig.from_json(text, "argument"), folder)
            elif task == "batch_norm":
                batch_norm(folder, rank, TrainConfig.from_json(text, "argument"))
            else:
                TASKS[task](folder, rank, pipes, *given)
            os._exit(0)
        children.append(child)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    # A rank that ended the others is meant to fail.
    if statuses != ([1, 3] if task == "fail" else [0] * world):
        sys.exit(f"the ranks of {task} ended with {statuses}")


def gather_rows(folder, rank, pipes, counts):
    """Row k of rank r is (10 r + k, 1); a rank of 0 rows has a filler, as the stream gives it."""
    with join_ranks(CPU) as ranks:
        rows = torch.tensor([[10.0 * rank + k, 1] for k in range(max(1, counts[rank]))])
        rows.requires_grad_()
        gathered = ranks.gather_rows(rows, counts[rank])
        # The gradient of row i of all is (i + 1, i + 1).
        (gathered.sum(1) * torch.arange(1, len(gathered) + 1)).sum().backward()
        torch.save((gathered.detach(), rows.grad), folder / f"{rank}.pt")


def wait(folder, rank, pipes):
    """Rank 1 waits; rank 0 arrives only after it has given rank 1 every chance to go on."""
    (hear_waiting, say_waiting), (hear_left, say_left) = pipes
    with join_ranks(CPU) as ranks:
        if rank == 0:
            os.read(hear_waiting, 1)
            early, *_ = select.select([hear_left], [], [], 2)
            (folder / "early").write_text("rank 1 went on alone" if early else "no")
            ranks.wait()
        else:
            os.write(say_waiting, b".")
            ranks.wait()
            os.write(say_left, b".")


def average(folder, rank, pipes, weights):
    """Rank r has (r + 1, -r), or no number where its weight is 0."""
    with join_ranks(CPU) as ranks:
        values = [torch.tensor([rank + 1.0]), torch.tensor([[-float(rank)]], dtype=torch.float64)]
        if not weights[rank]:
            values = [torch.full_like(value, torch.nan) for value in values]
        ranks.average(values, weights[rank])
        facts = [[v.item() for v in values], ranks.counts(rank), ranks.any(rank == 1)]
        (folder / f"{rank}.json").write_text(json.dumps([*facts, ranks.total(5)]))


def fail(folder, rank, pipes):
    """Rank 1 fails while rank 0 waits for something that is no message of the ranks."""
    failure_watch._GRACE_S = 0.1
    try:
        with join_ranks(CPU):
            if rank == 0:
                threading.Event().wait()
            raise DataError("train/000000.tar: sample 'clip_0007': does not fit its checksum")
    except DataError as error:
        os._exit(error.exit_code)


def batch_norm(folder, rank, config):
    """Trains an epoch on encoders that normalise by batch; each rank's statistics behind it."""

    class Watched(Method):
        def fit(self, run):
            for _ in run.epochs():
                run.train_epoch(self)
                torch.save([b.clone() for b in run.model.buffers()], folder / f"{rank}.pt")

    with join_ranks(CPU) as ranks, shards_of(config) as dataset:
        config, method = fitted(config, dataset), batch_normalised(Watched())
        feed = feed_of(config, dataset, method, ranks)
        model = model_of(config, feed)
        with Run(config, model, method, feed, folder, ranks=ranks) as run:
            torch.save([b.clone() for b in run.model.buffers()], folder / f"{rank}.before.pt")
            method.fit(run)


TASKS = {"gather_rows": gather_rows, "wait": wait, "average": average, "fail": fail}
