"""Charts that only the page of a data set has: bars by class, a histogram, a share in a cell."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from mmprep.html import charts
from mmprep.html.charts import bar, columns, style
from mmprep.html.markup import Markup, el

_BINS: Final = 24
_WIDE: Final = 960.0
_SHARE: Final = (120, 10)


def rows(counts: Mapping[str, Mapping[str, int]]) -> Markup:
    """Draws one bar a class, with its name in front and its sum behind.

    The bars are boxes of HTML instead of SVG, so that on a phone they get shorter and the letters
    do not get smaller.

    Args:
        counts: Class to its samples by split.
    """
    most = max((sum(by.values()) for by in counts.values()), default=0) or 1
    cells: list[Markup] = []
    for name, by in counts.items():
        pieces = (
            # 88 %: the longest bar leaves room for its number.
            el("i", class_=style(i), style=f"width:{88 * n / most:.2f}%", title=f"{split}: {n:,}")
            for i, (split, n) in enumerate(by.items())
            if n
        )
        cells += [el("span", name), el("div", *pieces, el("b", f"{sum(by.values()):,}"))]
    return el("div", *cells, class_="rows")


def ranked(counts: Mapping[str, Mapping[str, int]]) -> Markup:
    """Draws one thin upright bar a class, for more classes than have room for their names."""
    pieces = {name: list(by.values()) for name, by in counts.items()}
    x_name = "classes, largest first; point at a bar to see its name"
    return columns("samples of each class", pieces, x_name, ticks=(), width=_WIDE)


def histogram(title: str, values: Sequence[float], unit: str) -> Markup:
    """Draws how many of ``values`` lie in each of 24 intervals, on an axis in ``unit``."""
    low, high = min(values), max(values)
    if high - low < 0.1:
        # Equal values would fill an axis of no length; half a unit on each side shows where.
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(values, bins=_BINS, range=(low, high))
    pieces = {
        f"{edges[i]:.2f} to {edges[i + 1]:.2f} {unit}": [count]
        for i, count in enumerate(counts.tolist())
    }
    ticks = [
        ((value - low) / (high - low) * _BINS - 0.5, text)
        for value, text in charts.ticks((low, high), 5, whole=False)
    ]
    return columns(title, pieces, unit, ticks=ticks)


def share(part: float, whole: float) -> Markup:
    """Draws a small bar filled to ``part / whole``, for a cell of a table."""
    width, height = _SHARE
    back = el("rect", width=width, height=height, rx=2, class_="ground")
    front = bar(0, 0, width * part / whole if whole else 0.0, height, 0)
    return el("svg", back, front, width=width, height=height, aria_hidden="true", class_="share")
