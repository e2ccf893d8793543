"""A chart of single seeds: a row for each group of runs, a mark for each run."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from mmprep.html.charts import chart, mark, span, svg, ticks
from mmprep.html.markup import Markup, el, shorten

_WIDTH: Final = 960.0
_LEFT: Final = 190.0
_RIGHT: Final = 60.0
_ROW: Final = 26.0
_TOP: Final = 24.0
_LETTERS: Final = 24


class SeedRow(NamedTuple):
    """One group.

    Attributes:
        name: Name of the group.
        style: Number of its colour and mark.
        values: Seed to the value of its run.
    """

    name: str
    style: int
    values: dict[int, float]


def seed_marks(title: str, rows: Sequence[SeedRow]) -> Markup | None:
    """Draws the value of each seed, and a line at the mean; None where there is no value.

    Args:
        title: Title of the chart.
        rows: Groups, from above.
    """
    rows = [row for row in rows if row.values]
    if not rows:
        return None
    bounds = span([np.array([*row.values.values()]) for row in rows])
    foot = _TOP + _ROW * len(rows)

    def left(value: float) -> float:
        low, high = bounds
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    body: list[Markup | None] = []
    for value, text in ticks(bounds, 8, whole=False):
        x = left(value)
        body.append(el("line", x1=x, x2=x, y1=_TOP - 4, y2=foot, class_="rule"))
        body.append(el("text", text, x=x, y=_TOP - 9, text_anchor="middle"))
    for number, row in enumerate(rows):
        middle = _TOP + (number + 0.5) * _ROW
        name = shorten(row.name, _LETTERS)
        body.append(el("text", name, x=_LEFT - 10, y=middle + 4, text_anchor="end", class_="name"))
        mean = left(float(np.mean([*row.values.values()])))
        body.append(el("line", x1=mean, x2=mean, y1=middle - 9, y2=middle + 9, class_="mean"))
        body += [
            mark(left(value), middle, row.style, f"seed {seed}: {value:.2f}")
            for seed, value in row.values.items()
        ]
    return chart(title, svg(body, title, foot + 6, _WIDTH), "chart broad")
