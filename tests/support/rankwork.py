"""Processes that train together, really, over gloo, each one rank.

What is to be done is a list of plans: see `plan`. What each rank came to stands in RUN.rank<r>.txt
afterwards: ``done``, or the error.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from mmtrain.config.run import TrainConfig
from mmtrain.errors import DataError, MmtrainError
from mmtrain.training.run import Run
from mmtrain.training.train import train
from tests.support import forked
from tests.support.ports import free_port


def together(plans):
    """Carries out plans in children of a process of its own; the seconds that each took."""
    return json.loads(forked.call(carry_out_all, plans))


def together_in_turn(plans):
    """Carries out plans of as many ranks, to which nothing happens, all in the same processes."""
    forked.call(carry_out_in_turn, plans)


def plan(folder, config, world, what=None, step=0):
    """RUN and its config, on ``world`` ranks; ``what`` (``kill``, ``terminate`` or ``fail``)
    happens to rank 1 before its step ``step``."""
    return {
        "folder": str(folder),
        "config": config.to_json(),
        "world": world,
        "what": what,
        "step": step,
    }


def said(folder, rank):
    """Outcome of a rank."""
    path = Path(f"{folder}.rank{rank}.txt")
    return path.read_text() if path.exists() else ""


def carry_out_all(plans):
    json.dump([carry_out(each) for each in plans], sys.stdout)


def carry_out(what):
    begin = time.monotonic()
    carry_out_in_turn([what])
    return time.monotonic() - begin


def carry_out_in_turn(plans):
    """Forks the ranks of the first plan, and waits until they have carried out all."""
    ports, children = [free_port() for _ in plans], []
    for rank in range(plans[0]["world"]):
        child = os.fork()
        if not child:
            for each, port in zip(plans, ports, strict=True):
                be_rank(rank, each, port)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def be_rank(rank, what, port):
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(what["world"]),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    if rank == 1 and what["what"]:
        happen(what["what"], what["step"])
    told = Path(f"{what['folder']}.rank{rank}.txt")
    try:
        config = TrainConfig.from_json(what["config"], "argument")
        train(config, Path(what["folder"]), resume=True)
        told.write_text("done")
    except MmtrainError as error:
        told.write_text(str(error))


def be_task(config, folder):
    """Trains as one task of a launcher, which the environment names; prints its epochs."""
    sys.stdout.write(f"{train(config, folder)['epochs']}\n")


def happen(what, step):
    """Lets something happen to this process before ``step`` of the run."""
    before = Run.update

    def update(run, loss):
        if run.steps == step:
            if what == "fail":
                raise DataError("train/000000.tar: sample 'clip_0007': does not fit its checksum")
            os.kill(os.getpid(), signal.SIGKILL if what == "kill" else signal.SIGTERM)
        return before(run, loss)

    Run.update = update
