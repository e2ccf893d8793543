"""A process whose children train together, really, over gloo, each one rank.

Children are forked, so that torch is imported once. The argument is JSON, a list of plans: see
`plan`. What each rank came to stands in RUN.rank<r>.txt afterwards: ``done``, or the error.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from mmtrain.config.run import TrainConfig
from mmtrain.errors import DataError, MmtrainError
from mmtrain.training.run import Run
from mmtrain.training.train import train
from tests.support import ROOT
from tests.support.ports import free_port


def together(plans):
    """Carries out plans in a process of its own; the seconds that each took."""
    answer = subprocess.run(
        [sys.executable, "-m", __name__],
        check=True,
        input=json.dumps(plans).encode(),  # Longer than an argument may be.
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    return json.loads(answer.stdout)


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


def carry_out(what):
    begin, port, children = time.monotonic(), free_port(), []
    for rank in range(what["world"]):
        child = os.fork()
        if not child:
            os.environ.update(
                RANK=str(rank),
                WORLD_SIZE=str(what["world"]),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
            )
            be_rank(rank, what)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return time.monotonic() - begin


def be_rank(rank, what):
    if rank == 1 and what["what"]:
        happen(what["what"], what["step"])
    told = Path(f"{what['folder']}.rank{rank}.txt")
    try:
        config = TrainConfig.from_json(what["config"], "argument")
        train(config, Path(what["folder"]), resume=True)
        told.write_text("done")
    except MmtrainError as error:
        told.write_text(str(error))


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


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump([carry_out(each) for each in json.load(sys.stdin)], sys.stdout)
