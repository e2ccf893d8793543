"""The audit: does the ledger of a run say what the order of its epochs says?"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmtrain.config.run import TrainConfig
from mmtrain.data import SampleOrder, ShardedDataset
from mmtrain.errors import ConfigError, DataError
from mmtrain.training import checkpoint, ledger, scores
from mmtrain.training.assemble import config_of, curriculum_of, method_of, shards_of
from mmtrain.training.feed import split_held_out
from mmtrain.training.run import CHECKPOINT, LEDGER

_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True)
class EpochVerdict:
    """What is wrong with one epoch.

    Attributes:
        epoch: From 0.
        visits: In the ledger.
        missed: Key of each sample that was visited less often than its order says, to by how much.
        repeated: Key of each that was visited more often, to by how much.
    """

    epoch: int
    visits: int
    missed: dict[str, int]
    repeated: dict[str, int]

    def __str__(self) -> str:
        said = [
            f"{len(found)} samples {what}: {_some(found)}"
            for what, found in (("missed", self.missed), ("repeated", self.repeated))
            if found
        ]
        return f"epoch {self.epoch + 1}: {'; '.join(said) or 'as its order says'}"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What `audit` found.

    Attributes:
        samples: Of the train split.
        epochs: One verdict for each epoch that the checkpoint counts, whole or in part.
    """

    samples: int
    epochs: tuple[EpochVerdict, ...]

    @property
    def wrong(self) -> list[EpochVerdict]:
        """The epochs that are not as their order says."""
        return [e for e in self.epochs if e.missed or e.repeated]

    def to_json(self) -> dict[str, Any]:
        """As one object."""
        return {
            "ok": not self.wrong,
            "samples": self.samples,
            "epochs": len(self.epochs),
            "visits": sum(e.visits for e in self.epochs),
            "wrong": [
                {"epoch": e.epoch, "missed": e.missed, "repeated": e.repeated} for e in self.wrong
            ],
        }


def audit(folder: Path, data: str | None = None) -> Audit:
    """Compares the ledger of the run in ``folder`` with orders computed anew.

    Each epoch's order follows from the config (seed, epoch and curriculum) and, where the
    curriculum scores, from its row of `scores.h5`. Of the epoch in progress, the part is looked at
    that the checkpoint counts.

    Args:
        folder: RUN.
        data: Where the shards are, if they have moved.

    Raises:
        ConfigError: No run there, or none that has a checkpoint.
        DataError: The checkpoint is damaged, or of other data.
    """
    config = config_of(folder)
    path = folder / CHECKPOINT
    if not path.exists():
        raise ConfigError(f"{folder} has no {CHECKPOINT} yet; there is nothing to audit")
    saved = checkpoint.load(path)
    with shards_of(replace(config, data=data or config.data)) as dataset:
        if saved["data"] != dataset.description.root:
            raise DataError(f"{folder}: was trained on other data than {data or config.data}")
        ids, _ = split_held_out(dataset, method_of(config).holds_out, config.seed)
        due = _orders(folder, config, ids)
        verdicts = [
            _verdict(dataset, epoch, due(epoch).ids, ledger.visits(folder / LEDGER, epoch))
            for epoch in range(saved["epoch"])
        ]
        if saved["stream"] is not None:
            epoch, done = saved["epoch"], saved["stream"]["position"]
            found = ledger.visits(folder / LEDGER, epoch, saved["visits"])
            verdicts.append(_verdict(dataset, epoch, due(epoch).ids[:done], found))
    return Audit(samples=len(ids), epochs=tuple(verdicts))


def _orders(
    folder: Path, config: TrainConfig, ids: NDArray[np.int64]
) -> Callable[[int], SampleOrder]:
    """What gives the order of an epoch anew: from the config, and the scores if it went by some."""
    curriculum = curriculum_of(config)
    path = folder / scores.SCORES
    rows = scores.read(path) if path.exists() else {}

    def order(epoch: int) -> SampleOrder:
        if curriculum.memory is not None:
            curriculum.memory.recall({n: values[epoch] for n, values in rows.items() if n != "key"})
        return curriculum.visits(ids, config.seed, epoch)

    return order


def _verdict(
    dataset: ShardedDataset, epoch: int, due: NDArray[np.int64], found: NDArray[np.int64]
) -> EpochVerdict:
    strange = found[(found < 0) | (found >= len(dataset))]
    if len(strange):
        raise DataError(f"the ledger of epoch {epoch + 1} has sample {strange[0]}, which is none")
    more = np.bincount(found, minlength=len(dataset)) - np.bincount(due, minlength=len(dataset))
    return EpochVerdict(
        epoch=epoch,
        visits=len(found),
        missed={dataset.key(i): int(-more[i]) for i in np.flatnonzero(more < 0).tolist()},
        repeated={dataset.key(i): int(more[i]) for i in np.flatnonzero(more > 0).tolist()},
    )


def _some(found: dict[str, int]) -> str:
    shown = ", ".join(list(found)[:_SHOWN])
    return f"{shown} ..." if len(found) > _SHOWN else shown
