"""The audit: whether each epoch in a run's ledger visited the samples that its order lists."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmtrain.config.run import TrainConfig
from mmtrain.data import SampleOrder, ShardedDataset
from mmtrain.errors import ConfigError, DataError
from mmtrain.training import checkpoint, ledger, scores
from mmtrain.training.checkpoint import CHECKPOINT
from mmtrain.training.feed import split_held_out
from mmtrain.training.parts import config_of, curriculum_of, method_of, shards_of, task_of
from mmtrain.training.run import LEDGER

_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True)
class EpochVerdict:
    """Differences between one epoch's visits and its order.

    Attributes:
        epoch: Number of the epoch, from 0.
        visits: Number of visits in the ledger.
        missed: Key of each sample that was visited less often than in the order, to the difference.
        repeated: Key of each sample that was visited more often, to the difference.
    """

    epoch: int
    visits: int
    missed: dict[str, int]
    repeated: dict[str, int]

    def __str__(self) -> str:
        faults = [
            f"{len(samples)} sample{'s' if len(samples) > 1 else ''} {fault}: {_first(samples)}"
            for fault, samples in (("missed", self.missed), ("repeated", self.repeated))
            if samples
        ]
        return f"epoch {self.epoch + 1}: {'; '.join(faults) or 'as its order says'}"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Result of `audit`.

    Attributes:
        samples: Number of samples that epochs are made of.
        epochs: One verdict for each epoch that the checkpoint counts, whole or in part.
    """

    samples: int
    epochs: tuple[EpochVerdict, ...]

    @property
    def wrong(self) -> list[EpochVerdict]:
        """The epochs that differ from their order."""
        return [e for e in self.epochs if e.missed or e.repeated]

    def to_json(self) -> dict[str, Any]:
        """The audit as one JSON object."""
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

    Each epoch's order follows from the config (seed, epoch and curriculum) and, for a curriculum
    that scores samples, from the epoch's row of `scores.h5`. An epoch in progress is compared as
    far as the checkpoint counts it.

    Args:
        folder: Folder of the run.
        data: Place of the shards, if they have moved.

    Raises:
        ConfigError: The folder holds no run, or the run has no checkpoint.
        DataError: The checkpoint is damaged, or was trained on other data.
    """
    config = config_of(folder)
    path = folder / CHECKPOINT
    if not path.exists():
        raise ConfigError(f"{folder} has no {CHECKPOINT} yet; there is nothing to audit")
    saved = checkpoint.load(path)
    with (
        checkpoint.naming_misfits(path),
        shards_of(replace(config, data=data or config.data)) as dataset,
    ):
        if saved["data"] != dataset.description.root:
            raise DataError(f"{folder}: was trained on other data than {data or config.data}")
        labels = task_of(config, dataset).labels(dataset.annotations)
        ids, _ = split_held_out(dataset, labels, method_of(config).holds_out, config.seed)
        order_of = _orders(folder, config, ids)
        verdicts = [
            _verdict(dataset, epoch, order_of(epoch).ids, ledger.visits(folder / LEDGER, epoch))
            for epoch in range(saved["epoch"])
        ]
        if saved["stream"] is not None:
            epoch, position = saved["epoch"], saved["stream"]["position"]
            # A killed run may have written visits after its checkpoint; resuming cuts them off.
            visits = ledger.visits(folder / LEDGER, epoch, saved["visits"])
            verdicts.append(_verdict(dataset, epoch, order_of(epoch).ids[:position], visits))
    return Audit(samples=len(ids), epochs=tuple(verdicts))


def _orders(
    folder: Path, config: TrainConfig, ids: NDArray[np.int64]
) -> Callable[[int], SampleOrder]:
    """Returns the function that computes the order of an epoch anew."""
    curriculum = curriculum_of(config)
    path = folder / scores.SCORES
    rows = scores.read(path) if path.exists() else {}

    def order(epoch: int) -> SampleOrder:
        if curriculum.memory is not None:
            curriculum.memory.recall({n: values[epoch] for n, values in rows.items() if n != "key"})
        return curriculum.visits(ids, config.seed, epoch)

    return order


def _verdict(
    dataset: ShardedDataset, epoch: int, due: NDArray[np.int64], visits: NDArray[np.int64]
) -> EpochVerdict:
    strange = visits[(visits < 0) | (visits >= len(dataset))]
    if len(strange):
        raise DataError(f"the ledger of epoch {epoch + 1} has sample {strange[0]}, which is none")
    more = np.bincount(visits, minlength=len(dataset)) - np.bincount(due, minlength=len(dataset))
    return EpochVerdict(
        epoch=epoch,
        visits=len(visits),
        missed={dataset.key(i): int(-more[i]) for i in np.flatnonzero(more < 0).tolist()},
        repeated={dataset.key(i): int(more[i]) for i in np.flatnonzero(more > 0).tolist()},
    )


def _first(samples: Mapping[str, int]) -> str:
    shown = ", ".join(list(samples)[:_SHOWN])
    return f"{shown} ..." if len(samples) > _SHOWN else shown
