"""What the files of a run say, as plain values. Shares are in [0, 1], epochs count from 0."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

MEASURES: Final[Mapping[str, str]] = {
    "accuracy": "accuracy",
    "map": "mAP",
    "macro_f1": "macro-F1",
}


class Measures(NamedTuple):
    """How good one set of predictions is, see `mmtrain.metrics.measures`."""

    accuracy: float
    map: float
    macro_f1: float
    loss: float

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """From JSON."""
        return cls(*(float(plain[name]) for name in cls._fields))


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Measures of the fused predictions, and of each modality's own."""

    fused: Measures
    modalities: Mapping[str, Measures]

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """From JSON."""
        own = {m: Measures.of(said) for m, said in dict(plain["modalities"]).items()}
        return cls(fused=Measures.of(plain), modalities=own)

    def head(self, name: str) -> Measures | None:
        """Of a modality, or of ``fused``."""
        return self.fused if name == FUSED else self.modalities.get(name)


FUSED: Final = "fused"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A line of metrics.jsonl; ``val`` is None without such a split.

    See `mmtrain.training.metrics_log.Meter`.
    """

    epoch: int
    lr: float
    seconds: float
    samples_per_s: float
    data_wait: float
    train_loss: float
    logged: Mapping[str, float]
    val: Judged | None

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """From JSON."""
        return cls(
            epoch=int(plain["epoch"]),
            lr=float(plain["lr"]),
            seconds=float(plain["seconds"]),
            samples_per_s=float(plain["samples_per_s"]),
            data_wait=float(plain["data_wait"]),
            train_loss=float(plain["train_loss"]),
            logged={name: float(value) for name, value in dict(plain["logged"]).items()},
            val=plain["val"] and Judged.of(plain["val"]),
        )


@dataclass(frozen=True, kw_only=True)
class Result:
    """result.json."""

    best_epoch: int
    val: Judged | None
    test: Judged | None

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """From JSON."""
        return cls(
            best_epoch=int(plain["best_epoch"]),
            val=plain["val"] and Judged.of(plain["val"]),
            test=plain["test"] and Judged.of(plain["test"]),
        )


class ClassLine(NamedTuple):
    """One class of a split."""

    name: str
    samples: int
    accuracy: float
    ap: float
    f1: float


class Missing(NamedTuple):
    """Accuracy with modalities taken from shares of the samples."""

    rates: Mapping[str, float]
    draws: int
    mean: float
    std: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """eval-SPLIT.json.

    Attributes:
        samples: Of the split.
        judged: The split.
        by_class: Each class.
        confusion: (C, C) counts; rows are true, columns predicted.
        discrepancy: OGM's ``rho`` of each modality.
        missing: One a setting.
    """

    samples: int
    judged: Judged
    by_class: tuple[ClassLine, ...]
    confusion: NDArray[np.int64]
    discrepancy: Mapping[str, float]
    missing: tuple[Missing, ...]

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """From JSON.

        Raises:
            ValueError: The confusion matrix is not one of the classes.
        """
        lines = tuple(
            ClassLine(
                str(said["name"]),
                int(said["count"]),
                *(_number(said[name]) for name in ("accuracy", "ap", "f1")),
            )
            for said in plain["by_class"]
        )
        confusion = np.asarray(plain["confusion"], np.int64)
        if confusion.shape != (len(lines), len(lines)):
            raise ValueError(f"confusion of shape {confusion.shape} for {len(lines)} classes")
        return cls(
            samples=int(plain["samples"]),
            judged=Judged.of(plain),
            by_class=lines,
            confusion=confusion,
            discrepancy={m: _number(rho) for m, rho in dict(plain["discrepancy"]).items()},
            missing=tuple(
                Missing(
                    {m: float(p) for m, p in dict(said["rates"]).items()},
                    int(said["draws"]),
                    _number(said["accuracy"]["mean"]),
                    _number(said["accuracy"]["std"]),
                )
                for said in plain["missing"]
            ),
        )


class Probe(NamedTuple):
    """One modality of probe-SPLIT.json; ``alone`` is NaN where nothing was compared."""

    accuracy: float
    map: float
    macro_f1: float
    own_accuracy: float
    alone: float

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """From JSON."""
        alone = plain["alone"]
        return cls(
            accuracy=_number(plain["accuracy"]),
            map=_number(plain["map"]),
            macro_f1=_number(plain["macro_f1"]),
            own_accuracy=_number(plain["own_accuracy"]),
            alone=_number(None if alone is None else alone["accuracy"]),
        )


def _number(value: Any) -> float:
    """NaN for null: a class without a sample has no accuracy."""
    return float("nan") if value is None else float(value)
