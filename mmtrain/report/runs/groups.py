"""Groups of runs that differ in nothing but the seed: one row of a table, one line of a chart."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from mmtrain.config.run import FREE, TrainConfig
from mmtrain.report.runs.read import RunRecord
from mmtrain.tasks.measures import shown

# The place of the shards is free to change, but it is all that a config knows of the data set, so
# runs with other places are not taken for seeds of each other.
_IGNORED: Final = frozenset({"seed", *FREE} - {"data"})
_JOINT: Final = "joint"

Flat: TypeAlias = Mapping[str, str]


class Spread(NamedTuple):
    """Mean and sample standard deviation of ``known`` values; NaN where there are too few."""

    mean: float
    std: float
    known: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread":
        """Returns the spread of those ``values`` that are neither None nor NaN."""
        known = [value for value in values if value is not None and not np.isnan(value)]
        mean = float(np.mean(known)) if known else float("nan")
        std = float(np.std(known, ddof=1)) if len(known) > 1 else float("nan")
        return cls(mean, std, len(known))

    def text(self, decimals: int = 2, scale: float = 1.0) -> str:
        """Returns ``scale`` times the values as text, such as ``81.20 ± 0.35``."""
        if not self.known:
            return "-"
        mean = f"{scale * self.mean:,.{decimals}f}"
        return mean if self.known < 2 else f"{mean} ± {scale * self.std:.{decimals}f}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Runs that differ in the seed alone.

    Attributes:
        label: A few words that distinguish it from the other groups.
        style: Number that decides its colour, dashes and mark in charts.
        runs: Its runs, ordered by seed.
        config: Values of the config that all its runs share, by name, as text.
    """

    label: str
    style: int
    runs: tuple[RunRecord, ...]
    config: Flat

    @property
    def first(self) -> RunRecord:
        """The run that is shown where only one can be: the finished one with the lowest seed."""
        return self._finished[0]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that its runs are trained on."""
        return self.first.config.modalities

    @property
    def _finished(self) -> tuple[RunRecord, ...]:
        return tuple(run for run in self.runs if run.result) or self.runs

    def spread(self, pick: Callable[[RunRecord], float | None]) -> Spread:
        """Spread of a value over the finished runs; over all runs while none is finished."""
        return Spread.of(map(pick, self._finished))


def group_runs(records: Sequence[RunRecord]) -> list[Group]:
    """Forms groups, in the order in which their first runs come."""
    by_config: dict[str, list[RunRecord]] = {}
    for record in records:
        key = json.dumps(_flat(record.config), sort_keys=True)
        by_config.setdefault(key, []).append(record)
    several = max(len(record.config.modalities) for record in records) > 1
    groups = [
        Group(
            label=_label(runs, several=several),
            style=i,
            runs=tuple(sorted(runs, key=lambda run: run.config.seed)),
            config=_flat(runs[0].config),
        )
        for i, runs in enumerate(by_config.values())
    ]
    return _distinguish(groups)


def modalities_of(groups: Sequence[Group]) -> list[str]:
    """Every modality that some group is trained on, in the order of the first that has it."""
    return list(dict.fromkeys(m for group in groups for m in group.modalities))


def measures_of(groups: Sequence[Group]) -> tuple[str, ...]:
    """Measures that some run of the groups has, in the order of columns."""
    return shown(name for group in groups for run in group.runs for name in run.measures)


def differences(groups: Sequence[Group]) -> dict[str, list[str]]:
    """Values of the configs that differ: name to the value in each group, ``-`` where absent."""
    keys = dict.fromkeys(key for group in groups for key in group.config)
    values = {key: [group.config.get(key, "-") for group in groups] for key in keys}
    return {key: values for key, values in values.items() if len(set(values)) > 1}


def common_settings(groups: Sequence[Group]) -> dict[str, str]:
    """Values of the configs that are the same in all groups: name to value."""
    first = groups[0].config
    return {
        key: value
        for key, value in first.items()
        if all(group.config.get(key) == value for group in groups)
    }


def unimodal(config: TrainConfig) -> bool:
    """Whether a config is that of a unimodal model: plain training on a single modality."""
    return config.method == _JOINT and len(config.modalities) == 1


def _label(runs: Sequence[RunRecord], *, several: bool) -> str:
    """Returns the name that `mmtrain compare` has given the runs, or would give them.

    Args:
        runs: Runs of one group.
        several: Whether some run of the page has several modalities, beside which one that has a
            single one is a unimodal model.
    """
    compared = {run.entrant for run in runs}
    if len(compared) == 1 and (name := compared.pop()):
        return name
    config = runs[0].config
    label = f"{config.modalities[0]}-alone" if several and unimodal(config) else config.method
    own_order = config.curriculum not in (config.method, "uniform")
    return f"{label} + {config.curriculum}" if own_order else label


def _distinguish(groups: Sequence[Group]) -> list[Group]:
    """Adds to labels that several groups share the settings in which those groups differ."""
    count = Counter(group.label for group in groups)
    named = []
    for group in groups:
        alike = [other for other in groups if other.label == group.label]
        settings = [
            f"{key.rpartition('.')[2]} {group.config.get(key, '-')}" for key in differences(alike)
        ]
        unique = count[group.label] == 1
        label = group.label if unique else f"{group.label} ({'; '.join(settings)})"
        named.append(replace(group, label=label))
    return named


def _flat(config: TrainConfig) -> dict[str, str]:
    """Returns a config as one level of names with dots, without what does not change results."""

    def leaves(plain: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
        for name, value in plain.items():
            if isinstance(value, dict):
                yield from leaves(value, f"{prefix}{name}.")
            else:
                text = ", ".join(value) if isinstance(value, list) else json.dumps(value)
                yield f"{prefix}{name}", text.strip('"')

    plain = leaves(json.loads(config.to_json()))
    return {name: value for name, value in plain if name not in _IGNORED}
