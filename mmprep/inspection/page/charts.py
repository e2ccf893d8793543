"""Bar charts as inline SVG; the page's style sheet gives them their colours."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.ticker import MaxNLocator

from mmprep.html.markup import Markup, el, join

WIDTH: Final = 960.0
_LABEL: Final = 250.0
_NUMBER: Final = 70.0
_ROW: Final = 22.0
_PLOT: Final = 220.0
_AXIS: Final = 56.0
_TOP: Final = 14.0
_LETTERS: Final = 34
_BINS: Final = 24
_STEPS: Final = (1, 2, 5, 10)


def legend(series: Sequence[str]) -> Markup:
    """Which colour stands for which of the ``series``."""
    keys = (el("span", el("i", class_=f"s{i}"), name) for i, name in enumerate(series))
    return el("p", *keys, class_="legend")


def rows(counts: Mapping[str, Mapping[str, int]], caption: str) -> Markup:
    """One bar a name, made of its series, with the name before it and the sum behind."""
    most = max((sum(by.values()) for by in counts.values()), default=0) or 1
    scale = (WIDTH - _LABEL - _NUMBER) / most
    drawn: list[Markup | None] = []
    for i, (name, by) in enumerate(counts.items()):
        top = i * _ROW
        drawn.append(
            el("text", _short(name), x=_LABEL - 10, y=top + 15, text_anchor="end", class_="name")
        )
        left = _LABEL
        for series, count in enumerate(by.values()):
            drawn.append(_bar(left, top + 3, count * scale, _ROW - 6, series))
            left += count * scale
        drawn.append(el("text", f"{sum(by.values()):,}", x=left + 8, y=top + 15, class_="number"))
    return _svg(drawn, _ROW * len(counts), caption)


def ranked(counts: Mapping[str, Mapping[str, int]], caption: str) -> Markup:
    """One thin upright bar a name, made of its series, largest first; for many names."""
    sums = [sum(by.values()) for by in counts.values()]
    step = (WIDTH - _AXIS) / max(1, len(counts))
    ticks, scale = _upright(max(sums, default=0))
    drawn = list(_grid(ticks, scale))
    for i, (name, by) in enumerate(counts.items()):
        left, foot = _AXIS + i * step, _TOP + _PLOT
        bars = []
        for series, count in enumerate(by.values()):
            foot -= count * scale
            bars.append(_bar(left, foot, max(step - 0.6, 0.6 * step), count * scale, series))
        drawn.append(el("g", el("title", f"{name}: {sums[i]:,}"), *bars))
    names = list(counts) or [""]
    ends = ((_AXIS, "start", names[0]), (WIDTH, "end", names[-1]))
    for x, anchor, name in ends:
        drawn.append(
            el("text", _short(name), x=x, y=_TOP + _PLOT + 18, text_anchor=anchor, class_="name")
        )
    return _svg(drawn, _TOP + _PLOT + 26, caption)


def histogram(values: Sequence[float], unit: str, caption: str) -> Markup:
    """How many of ``values`` lie where, on an axis in ``unit``."""
    low, high = min(values), max(values)
    if high - low < 0.1:
        # A bin as wide as the axis would say nothing of values that are all the same.
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(values, bins=_BINS, range=(low, high))
    ticks, scale = _upright(int(counts.max()))
    step = (WIDTH - _AXIS - 20) / _BINS
    drawn = list(_grid(ticks, scale))
    for i, count in enumerate(counts.tolist()):
        bar = _bar(_AXIS + i * step, _TOP + _PLOT - count * scale, step - 2, count * scale, 0)
        said = f"{edges[i]:.2f} to {edges[i + 1]:.2f} {unit}: {count:,}"
        drawn.append(el("g", el("title", said), bar))
    for tick in MaxNLocator(8, steps=_STEPS).tick_values(low, high):
        if low <= tick <= high:
            x = _AXIS + (tick - low) / (high - low) * _BINS * step
            label = f"{tick:g} {unit}"
            drawn.append(
                el("text", label, x=x, y=_TOP + _PLOT + 18, text_anchor="middle", class_="number")
            )
    return _svg(drawn, _TOP + _PLOT + 26, caption)


def share(part: float, whole: float) -> Markup:
    """A small bar filled to ``part / whole``, for a cell of a table."""
    filled = 120 * part / whole if whole else 0.0
    back = el("rect", width=120, height=10, rx=2, class_="ground")
    front = _bar(0, 0, filled, 10, 0)
    return el("svg", back, front, width=120, height=10, aria_hidden="true", class_="share")


def _upright(most: int) -> tuple[list[float], float]:
    """Ticks of an axis from 0 that holds ``most``, and pixels for each unit."""
    ticks = [
        float(tick)
        for tick in MaxNLocator(4, integer=True, steps=_STEPS).tick_values(0, max(1, most))
    ]
    return ticks, _PLOT / max(ticks[-1], 1)


def _grid(ticks: Iterable[float], scale: float) -> Iterator[Markup]:
    for tick in ticks:
        if tick < 0:
            continue
        y = _TOP + _PLOT - tick * scale
        yield el("line", x1=_AXIS, x2=WIDTH, y1=y, y2=y, class_="rule")
        label = f"{tick:,.0f}"
        yield el("text", label, x=_AXIS - 8, y=y + 4, text_anchor="end", class_="number")


def _bar(left: float, top: float, width: float, height: float, series: int) -> Markup | None:
    if width <= 0 or height <= 0:
        return None
    return el("rect", x=left, y=top, width=width, height=height, class_=f"s{series}")


def _svg(drawn: Sequence[Markup | None], height: float, caption: str) -> Markup:
    box = f"0 0 {WIDTH:g} {height:g}"
    picture = el(
        "svg", el("title", caption), join(*drawn), viewBox=box, role="img", aria_label=caption
    )
    return el("div", picture, class_="chart")


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
