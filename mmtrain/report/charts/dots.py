"""A line a class, with a mark where each group stands on it."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from mmtrain.report.charts.lines import style
from mmtrain.report.markup import Markup, el, join

_WIDTH: Final = 960.0
_LEFT: Final = 190.0
_RIGHT: Final = 60.0
_ROW: Final = 22.0
_TOP: Final = 24.0
_DRAWN: Final = 40
_LETTERS: Final = 26


def dots(title: str, names: Sequence[str], values: Mapping[int, Sequence[float]]) -> Markup:
    """Shares in [0, 1], the lowest on top; bars where there is one group, else marks on lines.

    Of more classes than fit, the worst are drawn.

    Args:
        title: Above it.
        names: Of the classes.
        values: Number of a group's colour to its value for each class; NaN for none.
    """
    every = np.array(list(values.values()), float)
    known = np.isfinite(every)
    means = np.where(known, every, 0).sum(0) / np.maximum(known.sum(0), 1)
    order = [int(i) for i in np.argsort(means, kind="stable") if known[:, i].any()]
    shown = order[:_DRAWN]
    foot = _TOP + _ROW * len(shown)
    body: list[Markup] = []
    for tick in range(0, 101, 20):
        x = _place(tick / 100)
        body.append(el("line", x1=x, x2=x, y1=_TOP - 4, y2=foot, class_="rule"))
        body.append(el("text", f"{tick}", x=x, y=_TOP - 9, text_anchor="middle"))
    for row, i in enumerate(shown):
        middle = _TOP + (row + 0.5) * _ROW
        name = names[i] if len(names[i]) <= _LETTERS else f"{names[i][: _LETTERS - 1]}…"
        y = middle + 4
        body.append(el("text", name, x=_LEFT - 10, y=y, text_anchor="end", class_="name"))
        body += _marks({number: each[i] for number, each in values.items()}, middle)
    box = f"0 0 {_WIDTH:g} {foot + 6:g}"
    left_out = f", {len(shown)} of {len(order)}" if len(shown) < len(order) else ""
    drawn = el("svg", join(*body), viewBox=box, role="img", aria_label=title)
    return el("figure", el("figcaption", title + left_out), drawn, class_="chart broad")


def _marks(by_group: Mapping[int, float], middle: float) -> list[Markup]:
    """What stands in one row: a bar with its number, or a mark a group and the span of all."""
    there = {number: value for number, value in by_group.items() if np.isfinite(value)}
    if len(by_group) == 1:
        ((number, value),) = there.items()
        width = _place(value) - _LEFT
        bar = el(
            "rect", x=_LEFT, y=middle - 7, width=width, height=14, class_=f"bar {style(number)}"
        )
        return [bar, el("text", f"{100 * value:.1f}", x=_place(value) + 7, y=middle + 4)]
    ends = _place(min(there.values())), _place(max(there.values()))
    span = el("line", x1=ends[0], x2=ends[1], y1=middle, y2=middle, class_="rule")
    marks = [
        el(
            "circle",
            el("title", f"{100 * value:.1f}"),
            cx=_place(value),
            cy=middle,
            r=5.0,
            class_=f"bar {style(number)}",
        )
        for number, value in there.items()
    ]
    return [span, *marks]


def _place(value: float) -> float:
    return _LEFT + value * (_WIDTH - _LEFT - _RIGHT)
