"""A rank, or a run that is killed, in a process of its own, for `gpu_check`.

python child.py '{"task": "train", "config": ..., "folder": ..., "kill_at": 4}'
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from mmtrain.config.run import TrainConfig
from mmtrain.training.assemble import assemble
from mmtrain.training.device import set_up
from mmtrain.training.parts import fitted, shards_of
from mmtrain.training.ranks import join_ranks
from mmtrain.training.train import train


class KillAt:
    """Kills this process behind a step of the first epoch."""

    def __init__(self, step: int) -> None:
        self._step = step

    def step(self, epoch: int, step: int, steps: int, measures: Mapping[str, Any], /) -> None:
        """Kills at the step."""
        if step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)

    def epoch(self, line: Mapping[str, Any], /) -> None:
        """Does nothing."""


def run_train(config: TrainConfig, folder: Path, kill_at: int) -> None:
    """Trains until it is killed."""
    train(config, folder, watch=KillAt(kill_at), resume=True)


def run_rank(config: TrainConfig, folder: Path) -> None:
    """Trains as one rank of several that share a device, which NCCL would refuse."""
    with join_ranks(set_up(config.device), "gloo") as ranks, shards_of(config) as dataset:
        config = fitted(config, dataset)
        if ranks.first:
            folder.mkdir(parents=True)
        ranks.wait()
        with assemble(config, dataset, folder, ranks=ranks) as run:
            run.method.fit(run)


def run_nccl(config: TrainConfig) -> None:
    """Adds tensors up through NCCL and gloo, as one rank."""
    device = set_up(config.device)
    with join_ranks(device, "cpu:gloo,cuda:nccl"):
        for place in (device, torch.device("cpu")):
            value = torch.ones(4, device=place)
            dist.all_reduce(value)
            if value.tolist() != [1.0] * 4:
                raise SystemExit(f"one rank adds up to {value.tolist()} on {place}")


def main(task: str, config: str, **given: Any) -> None:
    """Carries out a task."""
    parsed = TrainConfig.from_json(config, "argument")
    if task == "train":
        run_train(parsed, Path(given["folder"]), given["kill_at"])
    elif task == "rank":
        run_rank(parsed, Path(given["folder"]))
    else:
        run_nccl(parsed)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
