"""Values in the files of a run. Shares are in [0, 1], epochs count from 0."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mmtrain.tasks.measures import shown


class GroupLine(NamedTuple):
    """Samples of one group, such as a type of question, and their accuracy."""

    samples: int
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Quality of one set of predictions, see `mmtrain.tasks.task.Task.measures`.

    Attributes:
        values: Name of each measure that the task has to its value; NaN where it is undefined.
        loss: Mean loss.
        groups: Name of each group to its line; empty where the task has none.
    """

    values: Mapping[str, float]
    loss: float
    groups: Mapping[str, GroupLine] = field(default_factory=dict)

    def value(self, name: str) -> float:
        """Value of a measure; NaN where there is none."""
        return self.values.get(name, float("nan"))

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """Reads a JSON object.

        Raises:
            ValueError: It holds no measure.
        """
        values = {name: _number(plain[name]) for name in shown(plain)}
        if not values:
            raise ValueError("no measure is there")
        groups = dict(plain.get("groups", {}))
        return cls(
            values=values,
            loss=float(plain["loss"]),
            groups={
                str(name): GroupLine(int(line["count"]), _number(line["accuracy"]))
                for name, line in groups.items()
            },
        )


@dataclass(frozen=True, kw_only=True)
class SplitMeasures:
    """Measures on a split: of the fused predictions, and of each modality's own logits."""

    fused: Measures
    modalities: Mapping[str, Measures]

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """Reads a JSON object."""
        own = {m: Measures.of(values) for m, values in dict(plain["modalities"]).items()}
        return cls(fused=Measures.of(plain), modalities=own)

    @classmethod
    def or_none(cls, plain: Mapping[str, Any] | None) -> Self | None:
        """Reads a JSON object, or null where the data have no such split."""
        return None if plain is None else cls.of(plain)

    def head(self, name: str) -> Measures | None:
        """Measures of a modality's own logits, or of the ``fused`` predictions."""
        return self.fused if name == FUSED else self.modalities.get(name)


FUSED: Final = "fused"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A line of metrics.jsonl; ``val`` is None if the data have no such split.

    See `mmtrain.training.metrics_log.Meter`.
    """

    epoch: int
    lr: float
    seconds: float
    samples_per_s: float
    data_wait: float
    train_loss: float
    logged: Mapping[str, float]
    val: SplitMeasures | None
    system: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """Reads a JSON object."""
        return cls(
            epoch=int(plain["epoch"]),
            lr=float(plain["lr"]),
            seconds=float(plain["seconds"]),
            samples_per_s=float(plain["samples_per_s"]),
            data_wait=float(plain["data_wait"]),
            train_loss=float(plain["train_loss"]),
            logged={name: float(value) for name, value in dict(plain["logged"]).items()},
            val=SplitMeasures.or_none(plain["val"]),
            # Runs of earlier versions have none.
            system={name: float(value) for name, value in dict(plain.get("system", {})).items()},
        )


@dataclass(frozen=True, kw_only=True)
class Result:
    """The content of result.json."""

    best_epoch: int
    val: SplitMeasures | None
    test: SplitMeasures | None

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """Reads a JSON object."""
        return cls(
            best_epoch=int(plain["best_epoch"]),
            val=SplitMeasures.or_none(plain["val"]),
            test=SplitMeasures.or_none(plain["test"]),
        )


class ClassLine(NamedTuple):
    """One class of a split."""

    name: str
    samples: int
    accuracy: float
    ap: float
    f1: float


class CurveSetting(NamedTuple):
    """The task's first measure where modalities are missing or noisy.

    Attributes:
        values: Modality to the share of the samples that lack it, or to the level of its noise.
        draws: Number of random draws of those samples, or of the noise.
        mean: Mean of the measure over the draws; NaN where it is undefined.
        std: Standard deviation over the draws.
    """

    values: Mapping[str, float]
    draws: int
    mean: float
    std: float

    @classmethod
    def of(cls, plain: Mapping[str, Any], name: str, measure: str) -> "CurveSetting":
        """Reads a JSON object, whose values are under ``name``."""
        spread = dict(plain.get(measure, {}))
        return cls(
            {m: float(value) for m, value in dict(plain[name]).items()},
            int(plain["draws"]),
            *(_number(spread.get(each)) for each in ("mean", "std")),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The content of eval-SPLIT.json.

    Attributes:
        samples: Number of samples of the split.
        measures: Measures on the split.
        by_class: Measures of each class; none where the task has no classes.
        confusion: (C, C) counts; rows are true, columns predicted.
        discrepancy: Ratio ``rho`` of OGM for each modality; none where nothing has a probability.
        missing: The first measure for each setting with missing modalities.
        noise: The first measure for each setting with noise.
        scatter: True and predicted scores of samples; empty where the task has none.
        segments: Accuracy at each place of a sample; empty where the task has no segments.
    """

    samples: int
    measures: SplitMeasures
    by_class: tuple[ClassLine, ...]
    confusion: NDArray[np.int64]
    discrepancy: Mapping[str, float]
    missing: tuple[CurveSetting, ...]
    noise: tuple[CurveSetting, ...] = ()
    scatter: tuple[tuple[float, float], ...] = ()
    segments: tuple[float, ...] = ()

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """Reads a JSON object.

        Raises:
            ValueError: The confusion matrix has not a row and a column for each class.
        """
        lines = tuple(
            ClassLine(
                str(line["name"]),
                int(line["count"]),
                *(_number(line[name]) for name in ("accuracy", "ap", "f1")),
            )
            for line in plain.get("by_class", ())
        )
        none = np.zeros((0, 0), np.int64)
        confusion = np.asarray(plain.get("confusion", none), np.int64)
        if confusion.shape != (len(lines), len(lines)):
            raise ValueError(f"confusion of shape {confusion.shape} for {len(lines)} classes")
        points = dict(plain.get("scatter", {"true": (), "predicted": ()}))
        measured = SplitMeasures.of(plain)
        first = shown(plain)[0]
        return cls(
            samples=int(plain["samples"]),
            measures=measured,
            by_class=lines,
            confusion=confusion,
            discrepancy={m: _number(rho) for m, rho in dict(plain["discrepancy"]).items()},
            missing=tuple(CurveSetting.of(each, "rates", first) for each in plain["missing"]),
            noise=tuple(CurveSetting.of(each, "levels", first) for each in plain.get("noise", ())),
            scatter=tuple(
                (float(t), float(p))
                for t, p in zip(points["true"], points["predicted"], strict=True)
            ),
            segments=tuple(map(float, plain.get("segments", ()))),
        )


class EpochProbes(NamedTuple):
    """A line of probes.jsonl.

    Attributes:
        epochs: Number of epochs that were done.
        accuracy: Modality to the accuracy of its probe on val.
    """

    epochs: int
    accuracy: Mapping[str, float]


class Probe(NamedTuple):
    """One modality of probe-SPLIT.json.

    Attributes:
        accuracy: Accuracy of a linear head that was fitted on the frozen encoder.
        map: Mean average precision of that head.
        macro_f1: Macro-F1 of that head.
        own_accuracy: Accuracy of the run's own logits of the modality.
        unimodal: Accuracy of the same probe on a unimodal model; NaN where none was given.
    """

    accuracy: float
    map: float
    macro_f1: float
    own_accuracy: float
    unimodal: float

    @property
    def gap(self) -> float:
        """By how much the unimodal model is better; the sign is that of `mmtrain probe`."""
        return self.unimodal - self.accuracy

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """Reads a JSON object."""
        alone = plain["alone"]
        return cls(
            accuracy=_number(plain["accuracy"]),
            map=_number(plain["map"]),
            macro_f1=_number(plain["macro_f1"]),
            own_accuracy=_number(plain["own_accuracy"]),
            unimodal=_number(None if alone is None else alone["accuracy"]),
        )


def _number(value: Any) -> float:
    """Reads a number; null, for a class without samples, becomes NaN."""
    return float("nan") if value is None else float(value)
