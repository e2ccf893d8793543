"""The finished runs of a study, as figures read them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmprep.format.damage import naming_damage
from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.config.run import TrainConfig
from mmtrain.tasks.measures import rank, shown
from mmtrain.training.metrics_log import MetricsFile
from mmtrain.training.run import METRICS
from mmtrain.training.train import result_of

Values = NDArray[np.float64]


class NothingToDraw(Exception):
    """The runs lack what a figure shows; the message says what, and how to get it."""


class Spread(NamedTuple):
    """Mean and sample standard deviation, 0 for a single value."""

    mean: float
    std: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Spread of at least one value."""
        std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return cls(float(np.mean(values)), std)


class Curve(NamedTuple):
    """Mean over seeds at each place of the horizontal axis, and its standard deviation."""

    x: Values
    mean: Values
    std: Values

    @classmethod
    def of(cls, points: Mapping[float, Sequence[float]]) -> "Curve":
        """Curve of the values at each place."""
        spreads = [Spread.of(points[x]) for x in sorted(points)]
        columns = ([s.mean for s in spreads], [s.std for s in spreads])
        return cls(np.array(sorted(points), float), *(np.array(each) for each in columns))


@dataclass(frozen=True, kw_only=True, eq=False)
class RowData:
    """One row of a study's table.

    Attributes:
        plain: The row in table.json.
        config: Config of its runs; None for a row without runs.
        runs: Seed to the folder of its run.
        values: Options and settings that the study gives the row alone.
    """

    plain: Mapping[str, Any]
    config: TrainConfig | None = None
    runs: Mapping[int, Path] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name of the row and of its folder."""
        return str(self.plain["label"])

    @property
    def control(self) -> str | None:
        """Kind of control that the row is; None for all others."""
        kind: str | None = self.plain.get("control")
        return kind

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities of its runs."""
        return () if self.config is None else self.config.modalities

    def results(self, measure: str, head: str | None = None) -> list[float]:
        """The measure of each run that has it, in the order of seeds.

        Args:
            measure: Name of the measure.
            head: Modality whose own logits are measured; None for the fused ones.
        """
        split = self.plain["split"]
        found = []
        for run in self.runs.values() if split else ():
            measured = result_of(run)[split]
            measured = measured if head is None else measured["modalities"].get(head, {})
            if measured.get(measure) is not None:
                found.append(float(measured[measure]))
        return found

    def by_epoch(self, pick: Callable[[Mapping[str, Any]], float | None]) -> Curve | None:
        """A value by epoch, counted from 1, over the runs; None where no epoch has it.

        Args:
            pick: Value in a line of metrics.jsonl; None where the line has none.
        """
        points: dict[float, list[float]] = {}
        for run in self.runs.values():
            for line in epochs_of(run):
                value = pick(line)
                if value is not None:
                    points.setdefault(line["epoch"] + 1, []).append(float(value))
        return Curve.of(points) if points else None


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyData:
    """All rows of a study, and what its figures have in common.

    Attributes:
        rows: Rows in the order of the table.
        table: The content of table.json.
        baselines: Label of a row to that of the row with which it is compared.
    """

    rows: tuple[RowData, ...]
    table: Mapping[str, Any]
    baselines: Mapping[str, str] = field(default_factory=dict)

    @property
    def baseline(self) -> str | None:
        """Label of the row with which most are compared; None where there is no such row."""
        labels = [row.label for row in self.rows]
        named = [b for label, b in self.baselines.items() if label in labels and b in labels]
        return max(named, key=named.count) if named else None

    def measure(self, request: FigureRequest) -> str:
        """Measure that a figure shows: as asked for, or the task's first.

        Raises:
            NothingToDraw: No row has it.
        """
        names = shown(n for row in self.rows for n in row.plain if row.plain[n] is not None)
        if not names:
            raise NothingToDraw("no run has been measured on test or val")
        asked = str(request.options.get("measure", names[0]))
        if asked not in names:
            raise NothingToDraw(f"no row has {asked}, but {', '.join(names)}")
        return asked

    def with_runs(self, request: FigureRequest) -> list[RowData]:
        """Rows that are drawn and have finished runs: those asked for, or all.

        Raises:
            NothingToDraw: There is none.
        """
        rows = [row for row in self.rows if row.runs]
        if request.rows:
            by_label = {row.label: row for row in rows}
            rows = [by_label[label] for label in request.rows if label in by_label]
        if not rows:
            raise NothingToDraw("none of its rows has a finished run")
        return rows

    def best(self, rows: Sequence[RowData], most: int) -> list[RowData]:
        """At most so many of the rows: the baseline, and those with the best first measure."""
        if len(rows) <= most:
            return [*rows]
        name = next(iter(self.table["measures"]), "accuracy")

        def place(row: RowData) -> tuple[bool, float]:
            value = row.plain.get(name)
            return row.label != self.baseline, -rank(name, value and value["mean"])

        kept = {row.label for row in sorted(rows, key=place)[:most]}
        return [row for row in rows if row.label in kept]


def epochs_of(run: Path) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl, without those of trials; none where the file is not there.

    Raises:
        DataError: The file is damaged.
    """
    path = run / METRICS
    return MetricsFile(path).read() if path.exists() else []


def evaluation_of(run: Path, split: str) -> dict[str, Any] | None:
    """Content of RUN/eval-SPLIT.json; None where the run was not evaluated.

    Raises:
        DataError: The file is damaged.
    """
    path = run / f"eval-{split}.json"
    if not path.exists():
        return None
    with naming_damage(str(path), "run `mmtrain eval` again"):
        return {**json.loads(path.read_bytes())}
