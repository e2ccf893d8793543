"""Names of the measures of all tasks: titles, units, and the direction in which each is better.

Needs the standard library only, because configs, tables and pages read it.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple


class Measure(NamedTuple):
    """How a measure is shown and compared.

    Attributes:
        title: Title of its column.
        percent: Whether it is a share, which is shown in percent.
        falls: Whether less is better.
        chooses: Whether it may choose the epoch; a property of the data alone may not.
    """

    title: str
    percent: bool = True
    falls: bool = False
    chooses: bool = True

    @property
    def scale(self) -> int:
        """Factor on shown values."""
        return 100 if self.percent else 1

    @property
    def decimals(self) -> int:
        """Decimals of shown values."""
        return 2 if self.percent else 3

    @property
    def unit(self) -> str:
        """Unit behind a title, such as `` (%)``."""
        return " (%)" if self.percent else ""


# In the order of columns; of the measures that a task has, the first stands for it in headings.
MEASURES: Final[Mapping[str, Measure]] = {
    "accuracy": Measure("accuracy"),
    "map": Measure("mAP"),
    "macro_f1": Measure("macro-F1"),
    "f1": Measure("F1"),
    "background": Measure("background alone", chooses=False),
    "mae": Measure("MAE", percent=False, falls=True),
    "corr": Measure("Corr", percent=False),
    "acc7": Measure("Acc-7"),
    "acc5": Measure("Acc-5"),
    "acc2_nonzero": Measure("Acc-2 nonzero"),
    "f1_nonzero": Measure("F1 nonzero"),
    "acc2_nonnegative": Measure("Acc-2 nonnegative"),
    "f1_nonnegative": Measure("F1 nonnegative"),
}
SELECTS: Final = tuple(name for name, measure in MEASURES.items() if measure.chooses)


def shown(names: Iterable[str]) -> tuple[str, ...]:
    """Those of ``names`` that are measures, in the order of columns; the loss is none."""
    there = set(names)
    return tuple(name for name in MEASURES if name in there)


def rank(name: str, value: float | None) -> float:
    """Number that is higher where the measure ``name`` is better; the lowest where undefined."""
    if value is None or math.isnan(value):
        return -math.inf
    falls = name in MEASURES and MEASURES[name].falls
    return -value if falls else value
