"""Runs that differ in nothing but the seed are one group: a row, a line with a band."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from mmtrain.config.run import FREE
from mmtrain.report.runs.read import RunRecord

# Where the shards lie may say which they are, so runs of different places stay apart.
_IGNORED: Final = frozenset({"seed", *FREE} - {"data"})

Flat: TypeAlias = Mapping[str, str]


class Spread(NamedTuple):
    """Mean and sample standard deviation of ``known`` values; NaN where there are too few."""

    mean: float
    std: float
    known: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread":
        """Of those that are there."""
        there = [value for value in values if value is not None and not np.isnan(value)]
        mean = float(np.mean(there)) if there else float("nan")
        std = float(np.std(there, ddof=1)) if len(there) > 1 else float("nan")
        return cls(mean, std, len(there))

    def told(self, decimals: int = 2, scale: float = 1.0) -> str:
        """``81.20 ± 0.35``."""
        if not self.known:
            return "-"
        mean = f"{scale * self.mean:,.{decimals}f}"
        return mean if self.known < 2 else f"{mean} ± {scale * self.std:.{decimals}f}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Runs that differ in the seed alone.

    Attributes:
        label: What tells it from the other groups, in a few words.
        style: Its number, which gives it a colour.
        runs: By seed.
        config: The values of the config that make it another group, as text.
    """

    label: str
    style: int
    runs: tuple[RunRecord, ...]
    config: Flat

    @property
    def first(self) -> RunRecord:
        """The run that is shown where only one can be: the finished one of the lowest seed."""
        return self._settled[0]

    @property
    def modalities(self) -> tuple[str, ...]:
        """What it is trained on."""
        return self.first.config.modalities

    @property
    def _settled(self) -> tuple[RunRecord, ...]:
        return tuple(run for run in self.runs if run.result) or self.runs

    def spread(self, pick: Callable[[RunRecord], float | None]) -> Spread:
        """Over the finished runs; over all while there is none."""
        return Spread.of(map(pick, self._settled))


def grouped(records: Sequence[RunRecord]) -> list[Group]:
    """The groups, in the order in which their first runs come."""
    by_config: dict[str, list[RunRecord]] = {}
    for record in records:
        key = json.dumps(_flat(record), sort_keys=True)
        by_config.setdefault(key, []).append(record)
    groups = [
        Group(
            label=_name(runs[0]),
            style=i,
            runs=tuple(sorted(runs, key=lambda run: run.config.seed)),
            config=_flat(runs[0]),
        )
        for i, runs in enumerate(by_config.values())
    ]
    return _told_apart(groups)


def modalities_of(groups: Sequence[Group]) -> list[str]:
    """Every modality that some group has, in the order of the first that has it."""
    return list(dict.fromkeys(m for group in groups for m in group.modalities))


def differences(groups: Sequence[Group]) -> dict[str, list[str]]:
    """Name to the value in each group, of all that is not the same in all; ``-`` where absent."""
    keys = dict.fromkeys(key for group in groups for key in group.config)
    found = {key: [group.config.get(key, "-") for group in groups] for key in keys}
    return {key: values for key, values in found.items() if len(set(values)) > 1}


def _name(run: RunRecord) -> str:
    config = run.config
    return config.method + (
        f" + {config.curriculum}" if config.curriculum not in (config.method, "uniform") else ""
    )


def _told_apart(groups: Sequence[Group]) -> list[Group]:
    """Groups whose names are the same get what they differ in behind it."""
    common = Counter(group.label for group in groups)
    named = []
    for group in groups:
        alike = [other for other in groups if other.label == group.label]
        own = [
            f"{key.rpartition('.')[2]} {group.config.get(key, '-')}" for key in differences(alike)
        ]
        label = group.label if common[group.label] == 1 else ", ".join([group.label, *own])
        named.append(replace(group, label=label))
    return named


def _flat(record: RunRecord) -> dict[str, str]:
    def leaves(plain: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
        for name, value in plain.items():
            if isinstance(value, dict):
                yield from leaves(value, f"{prefix}{name}.")
            else:
                text = ", ".join(value) if isinstance(value, list) else json.dumps(value)
                yield f"{prefix}{name}", text.strip('"')

    plain = leaves(json.loads(record.config.to_json()))
    return {name: value for name, value in plain if name not in _IGNORED}
