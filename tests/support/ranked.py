"""A process whose children train together, as ranks that talk through gloo.

Children are forked, so that torch is imported once. The argument is JSON, a list of plans: RUN, the
config's JSON, and the number of ranks. With a fourth entry nothing is trained: it is the rows of
each rank that `Ranks.gather_rows` gathers, and RUN gets what each rank saw.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
import torch._dynamo  # The first optimizer imports it, which takes seconds.

from mmtrain.config.run import TrainConfig
from mmtrain.training.ranks import join_ranks
from mmtrain.training.train import train
from tests.support import ROOT


def carry_out(*plans):
    """Carries out plans in such a process; raises if a rank fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", __name__, json.dumps(plans)]
    subprocess.run(command, check=True, env=environment, cwd=ROOT)


def main(folder, text, world, counts=None):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = []
    for rank in range(world):
        child = os.fork()
        if not child:
            os.environ.update(place, RANK=str(rank))
            if counts is None:
                train(TrainConfig.from_json(text, "argument"), Path(folder))
            else:
                bring_together(Path(folder), rank, counts)
            os._exit(0)
        children.append(child)
    for child in children:
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"a rank ended with status {status}")


def bring_together(folder, rank, counts):
    """Row k of rank r is (10 r + k, 1); a rank of 0 rows has a filler, as the stream gives it."""
    with join_ranks(torch.device("cpu")) as ranks:
        rows = torch.tensor([[10.0 * rank + k, 1] for k in range(max(1, counts[rank]))])
        rows.requires_grad_()
        found = ranks.gather_rows(rows, counts[rank])
        # The gradient of row i of all is (i + 1, i + 1).
        (found.sum(1) * torch.arange(1, len(found) + 1)).sum().backward()
        torch.save((found.detach(), rows.grad), folder / f"{rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for plan in json.loads(sys.argv[1]):
        main(*plan)
