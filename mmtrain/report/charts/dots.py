"""A chart of the accuracy of every class: a bar each for one group of runs, marks for several."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from mmprep.html.charts import bar, chart, mark, svg
from mmprep.html.markup import Markup, el, shorten

_WIDTH: Final = 960.0
_LEFT: Final = 190.0
_RIGHT: Final = 60.0
_ROW: Final = 22.0
_TOP: Final = 24.0
_DRAWN: Final = 40
_LETTERS: Final = 24


def dots(title: str, names: Sequence[str], values: Mapping[int, Sequence[float]]) -> Markup:
    """Draws a row for each class, the lowest values first.

    With one group the value is a bar, with several each has a mark on a common line. Of more than
    40 classes, the 40 lowest are drawn.

    Args:
        title: Title of the chart.
        names: Names of the classes.
        values: Number of a group's style to its shares in [0, 1], one a class; NaN for none.
    """
    every = np.array(list(values.values()), float)
    known = np.isfinite(every)
    means = np.where(known, every, 0).sum(0) / np.maximum(known.sum(0), 1)
    order = [int(i) for i in np.argsort(means, kind="stable") if known[:, i].any()]
    shown = order[:_DRAWN]
    foot = _TOP + _ROW * len(shown)
    body: list[Markup | None] = []
    for tick in range(0, 101, 20):
        x = _left(tick / 100)
        body.append(el("line", x1=x, x2=x, y1=_TOP - 4, y2=foot, class_="rule"))
        body.append(el("text", f"{tick}", x=x, y=_TOP - 9, text_anchor="middle"))
    for row, i in enumerate(shown):
        middle = _TOP + (row + 0.5) * _ROW
        name = shorten(names[i], _LETTERS)
        y = middle + 4
        body.append(el("text", name, x=_LEFT - 10, y=y, text_anchor="end", class_="name"))
        body += _row({number: each[i] for number, each in values.items()}, middle)
    count = f", {len(shown)} of {len(order)}" if len(shown) < len(order) else ""
    return chart(title + count, svg(body, title, foot + 6, _WIDTH), "chart broad")


def _row(by_style: Mapping[int, float], middle: float) -> list[Markup | None]:
    """Draws one class: a bar with its number, or a mark a group on the range of all groups."""
    known = {number: value for number, value in by_style.items() if np.isfinite(value)}
    if len(by_style) == 1:
        ((number, value),) = known.items()
        return [
            bar(_LEFT, middle - 7, _left(value) - _LEFT, 14, number),
            el("text", f"{100 * value:.1f}", x=_left(value) + 7, y=middle + 4),
        ]
    ends = _left(min(known.values())), _left(max(known.values()))
    line = el("line", x1=ends[0], x2=ends[1], y1=middle, y2=middle, class_="rule")
    marks = (mark(_left(v), middle, number, f"{100 * v:.1f}") for number, v in known.items())
    return [line, *marks]


def _left(value: float) -> float:
    return _LEFT + value * (_WIDTH - _LEFT - _RIGHT)
