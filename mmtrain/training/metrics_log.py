"""Measures of a run by epoch: the lines of metrics.jsonl, and the meter of the one in progress."""

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from mmprep.format.damage import naming_damage
from mmprep.format.fields import parse_json
from mmtrain import files
from mmtrain.training.ranks import Ranks

log = logging.getLogger(__name__)


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """Adds one JSON object to a file of lines, and brings it to the disk."""
    with files.naming_refusals(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


class MetricsFile:
    """JSON lines, one object an epoch."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, line: Mapping[str, Any]) -> None:
        """Writes one line, and brings it to the disk."""
        append_line(self._path, line)

    def keep(self, epochs: int) -> None:
        """Drops the lines of later epochs, and one that was half written."""
        if not self._path.exists():
            return
        lines = self._path.read_bytes().split(b"\n")[:-1][:epochs]
        text = b"".join(line + b"\n" for line in lines)
        files.replace(self._path, lambda file: file.write(text))

    def read(self) -> list[dict[str, Any]]:
        """The lines of epochs, without those of trials."""
        lines = []
        for number, text in enumerate(self._path.read_bytes().splitlines(), 1):
            with naming_damage(f"{self._path}, line {number}", "remove the line"):
                line = {**parse_json(text)}
                float(line["seconds"])
                lines.append(line)
        return [line for line in lines if "trial" not in line]


@dataclass
class Meter:
    """Sums over an epoch so far; saved, so that a resumed epoch reports the whole of it.

    Attributes:
        loss: Sum over updates of the mean loss times the samples.
        weight: Sum of those samples.
        visits: Samples that went through a step.
        seconds: Seconds of training, evaluation apart.
        waited: Seconds of these in which there was no batch to compute on.
        scoring: Seconds of a curriculum's pass over the samples; no part of `seconds`.
        cpu: Seconds of processor time of this rank, over all its threads.
        read: Bytes of the shards that this rank read, from the disk or the bucket.
        memory: Most bytes of main memory that this rank was seen to hold.
        gpu_memory: Most bytes of this rank's tensors on its GPU.
        logged: Name to the sum and count of the scalars that the method logged.
    """

    loss: float = 0.0
    weight: int = 0
    visits: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    scoring: float = 0.0
    cpu: float = 0.0
    read: int = 0
    memory: int = 0
    gpu_memory: int = 0
    logged: dict[str, list[float]] = field(default_factory=dict)

    def add_loss(self, value: float, samples: int) -> None:
        """Takes the mean loss of an update."""
        self.loss += value * samples
        self.weight += samples

    def log(self, scalars: Iterable[tuple[str, float]]) -> None:
        """Takes scalars that a method logged."""
        for name, value in scalars:
            total, count = self.logged.get(name, (0.0, 0))
            self.logged[name] = [total + value, count + 1]

    def shared(self, ranks: Ranks) -> "Meter":
        """Meter of all ranks together: sums, and of seconds and logged scalars the means."""
        if ranks.alone:
            return self
        own = torch.tensor(
            [self.loss, self.weight, self.visits, self.seconds, self.waited], dtype=torch.float64
        )
        loss, weight, visits, seconds, waited = ranks.sum(own).tolist()
        names = sorted(self.logged)
        sums = torch.tensor([self.logged[n] for n in names], dtype=torch.float64).reshape(-1, 2)
        logged = (ranks.sum(sums) / ranks.world).tolist()
        return replace(
            self,
            logged=dict(zip(names, logged, strict=True)),
            loss=loss,
            weight=int(weight),
            visits=int(visits),
            seconds=seconds / ranks.world,
            waited=waited / ranks.world,
        )

    def part(self, ranks: Ranks) -> "Meter":
        """Share of a rank in what `shared` gave for all, from which it goes on."""
        if ranks.first:
            return self
        return replace(self, loss=0.0, weight=0, visits=0, cpu=0.0, read=0)

    def line(self) -> dict[str, Any]:
        """Entries of the epoch's line of metrics."""
        return {
            "seconds": round(self.seconds, 3),
            "samples_per_s": round(self.visits / max(self.seconds, 1e-9), 1),
            "scoring_seconds": round(self.scoring, 3),
            "data_wait": round(self.waited / max(self.seconds, 1e-9), 4),
            "train_loss": self.loss / max(self.weight, 1),
            "logged": {name: total / count for name, (total, count) in self.logged.items()},
            "system": self._system(),
        }

    def _system(self) -> dict[str, float]:
        """Use of the machine by this rank; like seconds, it differs from run to run."""
        seconds = max(self.seconds, 1e-9)
        return {
            "cpu": round(self.cpu / (seconds * cores()), 4),
            "memory_mb": round(self.memory / 1e6, 1),
            "gpu_memory_mb": round(self.gpu_memory / 1e6, 1),
            "read_mb_per_s": round(self.read / (1e6 * seconds), 3),
        }


def cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
