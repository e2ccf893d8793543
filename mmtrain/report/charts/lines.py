"""Charts as inline SVG. The page's style sheet gives them their colours, light and dark."""

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mmtrain.report.markup import Markup, el, join

Values = NDArray[np.float64]

COLOURS: Final = 8
WIDTH: Final = 440.0
_LEFT: Final = 56.0
RIGHT: Final = 14.0
TOP: Final = 10.0
_PLOT: Final = 190.0
FOOT: Final = 40.0
_HOVERS: Final = 60
_DOTTED: Final = 12
_STEPS: Final = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """One line of a chart.

    Attributes:
        name: For the tooltip.
        style: Number of its colour; a higher round of colours is dashed.
        x: (n,) ascending.
        y: (n,) NaN where there is a gap.
        bands: (n,) lower and (n,) upper edge of each area behind the line.
    """

    name: str
    style: int
    x: Values
    y: Values
    bands: tuple[tuple[Values, Values], ...] = ()


class Frame(NamedTuple):
    """Where data lie in a picture: spans of the data and of the pixels."""

    x: tuple[float, float]
    y: tuple[float, float]

    def left(self, x: float) -> float:
        """Pixel of ``x``."""
        low, high = self.x
        return _LEFT + (x - low) / (high - low) * (WIDTH - _LEFT - RIGHT)

    def top(self, y: float) -> float:
        """Pixel of ``y``."""
        low, high = self.y
        return TOP + _PLOT - (y - low) / (high - low) * _PLOT


def chart(title: str, picture: Markup) -> Markup:
    """A picture under its title."""
    return el("figure", el("figcaption", title), picture, class_="chart")


def grid(*charts: Markup | None) -> Markup:
    """Charts side by side, as many as there is room for."""
    return el("div", *charts, class_="grid")


def legend(names: Sequence[tuple[str, int]]) -> Markup:
    """Which colour stands for which name."""
    keys = (el("span", el("i", class_=f"key {style(i)}"), name) for name, i in names)
    return el("p", *keys, class_="legend")


def style(number: int) -> str:
    """Classes of a colour."""
    dashed = f" d{min(number // COLOURS, 2)}" if number >= COLOURS else ""
    return f"s{number % COLOURS}{dashed}"


def lines(
    title: str,
    series: Sequence[Line],
    *,
    x_name: str = "epoch",
    keyed: bool = False,
    y_span: tuple[float, float] | None = None,
    told: Callable[[float], str] = "{:.4g}".format,
) -> Markup | None:
    """Lines over epochs; None where there is nothing to draw.

    Args:
        title: Above it.
        series: The lines.
        x_name: What the axis counts.
        keyed: Whether it says which line is which; else a legend stands elsewhere.
        y_span: What the axis spans at least.
        told: A value as text, in tooltips.
    """
    drawn = [line for line in series if np.isfinite(line.y).any()]
    if not drawn:
        return None
    xs = np.unique(np.concatenate([line.x for line in drawn]))
    low, high = float(xs[0]), float(xs[-1])
    x_span = (low, high) if low < high else (low - 0.5, high + 0.5)
    frame = Frame(x_span, _span([edge for line in drawn for edge in edges(line)], y_span))
    body = [
        *_axes(frame, x_name, whole=x_name == "epoch"),
        *(mark for line in drawn for mark in _marks(line, frame)),
        *_hovers(drawn, xs, frame, x_name, told),
    ]
    keys = legend([(line.name, line.style) for line in drawn]) if keyed else None
    return chart(title, join(svg(body, title, TOP + _PLOT + FOOT), keys))


def bars(title: str, names: Sequence[str], counts: Sequence[int], x_name: str) -> Markup:
    """An upright bar a name."""
    frame = Frame((-0.5, len(names) - 0.5), _span([np.array([0.0, max(counts, default=1)])], None))
    body = [*_axes(frame, x_name, whole=True, x_ticks=False)]
    every = -(-len(names) // 10)
    for i, (name, count) in enumerate(zip(names, counts, strict=True)):
        left, top = frame.left(i - 0.4), frame.top(count)
        width = frame.left(i + 0.4) - left
        bar = el("rect", x=left, y=top, width=width, height=frame.top(0) - top, class_="bar s0")
        body.append(el("g", el("title", f"{name}: {count:,}"), bar))
        if i % every == 0:
            y = TOP + _PLOT + 16
            body.append(el("text", name, x=frame.left(i), y=y, text_anchor="middle"))
    return chart(title, svg(body, title, TOP + _PLOT + FOOT))


def data_url(kind: str, encoded: bytes) -> str:
    """Address of a picture that lies in the page."""
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"


def _marks(line: Line, frame: Frame) -> Iterator[Markup]:
    look = style(line.style)
    for low, high in line.bands:
        there = np.isfinite(low) & np.isfinite(high)
        edge = [(x, y) for x, y, t in zip(line.x, high, there, strict=True) if t]
        back = [(x, y) for x, y, t in zip(line.x, low, there, strict=True) if t][::-1]
        yield el("path", d=_path([*edge, *back], frame) + "Z", class_=f"band {look}")
    points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if np.isfinite(y)]
    yield el("path", d=_path(points, frame), class_=f"line {look}")
    if len(points) <= _DOTTED:
        for x, y in points:
            yield el("circle", cx=frame.left(x), cy=frame.top(y), r=2.6, class_=f"bar {look}")


def _path(points: Sequence[tuple[float, float]], frame: Frame) -> str:
    return "M" + "L".join(f"{frame.left(x):.1f} {frame.top(y):.1f}" for x, y in points)


def _hovers(
    series: Sequence[Line], xs: Values, frame: Frame, x_name: str, told: Callable[[float], str]
) -> Iterator[Markup]:
    """Strips that say what the lines are worth where the pointer is."""
    shown = xs[:: -(-len(xs) // _HOVERS)]
    half = (WIDTH - _LEFT - RIGHT) / max(1, 2 * (len(shown) - 1))
    for x in shown:
        said = [f"{x_name} {x:g}"]
        for line in series:
            at = np.searchsorted(line.x, x)
            if at < len(line.x) and line.x[at] == x and np.isfinite(line.y[at]):
                said.append(f"{line.name}: {told(float(line.y[at]))}")
        left = max(_LEFT, frame.left(x) - half)
        right = min(WIDTH - RIGHT, frame.left(x) + half)
        strip = {"x": left, "y": TOP, "width": right - left, "height": _PLOT}
        yield el("rect", el("title", "\n".join(said)), **strip, class_="hover")


def _axes(frame: Frame, x_name: str, *, whole: bool, x_ticks: bool = True) -> Iterator[Markup]:
    foot = TOP + _PLOT
    for tick, text in _ticks(frame.y, 5, whole=False):
        y = frame.top(tick)
        yield el("line", x1=_LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="rule")
        yield el("text", text, x=_LEFT - 7, y=y + 4, text_anchor="end")
    for tick, text in _ticks(frame.x, 8, whole=whole) if x_ticks else ():
        yield el("text", text, x=frame.left(tick), y=foot + 16, text_anchor="middle")
    middle = (_LEFT + WIDTH - RIGHT) / 2
    yield el("text", x_name, x=middle, y=foot + 33, text_anchor="middle")


def _ticks(span: tuple[float, float], count: int, *, whole: bool) -> list[tuple[float, str]]:
    low, high = span
    found = MaxNLocator(count, integer=whole, steps=_STEPS if not whole else (1, 2, 5, 10))
    slack = 1e-9 * (high - low)
    ticks = [float(t) for t in found.tick_values(low, high) if low - slack <= t <= high + slack]
    ticks = [tick for tick in ticks if tick.is_integer() or not whole]
    step = min(np.diff(ticks), default=1.0)
    decimals = max(0, int(np.ceil(-np.log10(step) - 1e-9)))
    decimals += round(step, decimals) != round(step, decimals + 1)
    if decimals > 4 or high >= 1e6:
        return [(tick, f"{tick:.3g}") for tick in ticks]
    return [(tick, f"{tick:,.{decimals}f}") for tick in ticks]


def edges(line: Line) -> Iterator[Values]:
    """All that an axis must hold."""
    yield line.y
    for low, high in line.bands:
        yield low
        yield high


def _span(values: Sequence[Values], least: tuple[float, float] | None) -> tuple[float, float]:
    """Round numbers around all of ``values``."""
    every = np.concatenate([*values, np.array(least or ())])
    low, high = float(np.nanmin(every)), float(np.nanmax(every))
    if high - low < 1e-9 * max(1.0, abs(high)):
        room = 0.1 * abs(high) or 1.0
        low, high = low - room, high + room
    ticks = MaxNLocator(5, steps=_STEPS).tick_values(low, high)
    return float(ticks[0]), float(ticks[-1])


def svg(body: Sequence[Markup | None], label: str, height: float) -> Markup:
    """A picture `WIDTH` wide, which takes what room there is."""
    box = f"0 0 {WIDTH:g} {height:.0f}"
    return el("svg", join(*body), viewBox=box, role="img", aria_label=label)
