"""Charts as inline SVG. The style sheet colours them, for light and for dark screens.

A series has a number, its *style*: it decides the colour, the dashes of its line and the shape of
its mark, so that no two of the first 28 series look the same even where colours cannot be told
apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mmprep.html.markup import Markup, el, join, shorten

Values = NDArray[np.float64]

# Seven colours and four dashes have no common factor, so their pairs repeat after 28 only.
COLOURS: Final = 7
DASHES: Final = 4
WIDTH: Final = 440.0
LEFT: Final = 56.0
RIGHT: Final = 14.0
TOP: Final = 10.0
PLOT: Final = 190.0
FOOT: Final = 40.0
_HOVERS: Final = 60
# Most lines that have their names at their ends, letters of these, and pixels of both.
_NAMED: Final = 8
_LETTERS: Final = 14
_LETTER: Final = 5.8
_LINE: Final = 13.0
_DOTTED: Final = 12
# With more lines, bands would cover each other: one is shown while the pointer is on its line.
_BANDS: Final = 3
_STEPS: Final = (1, 2, 2.5, 5, 10)
_WHOLE_STEPS: Final = (1, 2, 5, 10)
_ANY: Final = (-np.inf, np.inf)


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """One line of a chart.

    Attributes:
        name: Name of the line, in the legend and in tooltips.
        style: Number of the line's colour and dashes.
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
    """The rectangle of a chart that holds the data.

    Attributes:
        x: Lowest and highest value on the horizontal axis.
        y: Lowest and highest value on the vertical axis.
        width: Pixels of the whole picture.
        margin: Pixels to the right of the data.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = WIDTH
    margin: float = RIGHT

    def left(self, x: float) -> float:
        """Horizontal pixel of the value ``x``."""
        low, high = self.x
        return LEFT + (x - low) / (high - low) * (self.width - LEFT - self.margin)

    def top(self, y: float) -> float:
        """Vertical pixel of the value ``y``."""
        low, high = self.y
        return TOP + PLOT - (y - low) / (high - low) * PLOT


def lines(
    title: str,
    series: Sequence[Line],
    *,
    x_name: str = "epoch",
    keyed: bool = False,
    y_span: tuple[float, float] | None = None,
    limits: tuple[float, float] = _ANY,
) -> Markup | None:
    """Draws lines over a common axis; returns None where there is nothing to draw.

    Args:
        title: Title of the chart.
        series: Lines to draw.
        x_name: Quantity on the horizontal axis; epochs have whole ticks.
        keyed: Whether the chart has its own legend; else the page has one for several charts.
        y_span: Values that the vertical axis spans at least.
        limits: Values that the vertical axis never goes beyond.
    """
    series = [line for line in series if np.isfinite(line.y).any()]
    if not series:
        return None
    xs = np.unique(np.concatenate([line.x for line in series]))
    low, high = float(xs[0]), float(xs[-1])
    x_span = (low, high) if low < high else (low - 0.5, high + 0.5)
    bounds = span([edge for line in series for edge in edges(line)], y_span, limits)
    labels = _end_names(series)
    frame = Frame(x_span, bounds, margin=_room_for(labels))
    # Lines lie above the strips for tooltips, so that the pointer can also pick a line.
    marks = el(
        "g",
        *(_marks(line, frame) for line in series),
        class_="many" if len(series) > _BANDS else None,
    )
    x_ticks = ticks(x_span, 6 if labels else 8, whole=x_name == "epoch")
    body = [*axes(frame, x_name, x_ticks=x_ticks), *_hovers(series, xs, frame, x_name)]
    body += _end_labels(series, labels, frame)
    keys = legend([(line.name, line.style) for line in series]) if keyed else None
    return chart(title, join(svg([*body, marks], title, TOP + PLOT + FOOT), keys))


def columns(
    title: str,
    counts: Mapping[str, Sequence[int]],
    x_name: str,
    *,
    ticks: Sequence[tuple[float, str]] | None = None,
    width: float = WIDTH,
) -> Markup:
    """Draws an upright bar for each name, in as many colours as a name has counts.

    Args:
        title: Title of the chart.
        counts: Name, for the tooltip, to the heights of the pieces of its bar.
        x_name: Quantity on the horizontal axis.
        ticks: Places on the horizontal axis, where 0 is the first bar, and their texts; names by
            default, as many as there is room for.
        width: Pixels of the picture; a broad one scrolls sideways on a phone.
    """
    sums = [sum(pieces) for pieces in counts.values()]
    y_span = span([np.array([0.0, max([*sums, 1])])], whole=True)
    frame = Frame((-0.5, max(1, len(counts)) - 0.5), y_span, width)
    if ticks is None:
        every = -(-len(counts) // 10) or 1
        ticks = list(enumerate(counts))[::every]
    body = [*axes(frame, x_name, x_ticks=ticks, whole=True)]
    # Many thin bars would be hidden by the gaps between them.
    half = 0.4 if len(counts) <= 60 else 0.48
    for i, (name, pieces) in enumerate(counts.items()):
        left, foot = frame.left(i - half), 0
        bars = []
        for number, count in enumerate(pieces):
            top, height = frame.top(foot + count), frame.top(foot) - frame.top(foot + count)
            bars.append(bar(left, top, frame.left(i + half) - left, height, number))
            foot += count
        body.append(el("g", el("title", f"{name}: {sums[i]:,}"), *bars))
    picture = svg(body, title, TOP + PLOT + FOOT, width)
    return chart(title, picture, "chart broad" if width > WIDTH else "chart")


def bar(left: float, top: float, width: float, height: float, number: int) -> Markup | None:
    """Returns a filled rectangle in the colour ``number``; None where it has no area."""
    if width <= 0 or height <= 0:
        return None
    return el("rect", x=left, y=top, width=width, height=height, class_=f"bar {style(number)}")


def mark(x: float, y: float, number: int, title: str | None = None) -> Markup:
    """Returns a small shape at a pixel: colour and shape follow from the style ``number``."""
    tooltip = None if title is None else el("title", title)
    look = f"mark {style(number)}"
    shape = number % DASHES
    if shape == 0:
        return el("circle", tooltip, cx=x, cy=y, r=5.0, class_=look)
    outline = {
        1: "M-4.6 -4.6H4.6V4.6H-4.6Z",
        2: "M0 -6.2L6.2 0L0 6.2L-6.2 0Z",
        3: "M0 -6L5.8 4.6H-5.8Z",
    }[shape]
    return el("path", tooltip, d=outline, transform=f"translate({x:.1f} {y:.1f})", class_=look)


def chart(title: str, picture: Markup, look: str = "chart") -> Markup:
    """Returns a picture below its title."""
    return el("figure", el("figcaption", title), picture, class_=look)


def grid(*charts: Markup | None) -> Markup:
    """Arranges charts side by side, as many as there is room for."""
    return el("div", *charts, class_="grid")


def legend(names: Sequence[tuple[str, int]]) -> Markup:
    """Shows which line, with its colour and dashes, belongs to which name."""
    return el("p", *(el("span", key(number), name) for name, number in names), class_="legend")


def swatches(names: Sequence[str]) -> Markup:
    """Shows which colour of the pieces of a bar belongs to which name."""
    pairs = enumerate(names)
    keys = (el("span", el("i", class_=f"swatch {style(i)}"), name) for i, name in pairs)
    return el("p", *keys, class_="legend")


def key(number: int) -> Markup:
    """Returns a short piece of the line of style ``number`` and its mark, for legends."""
    line = el("line", x1=1, x2=31, y1=7, y2=7, class_=f"line {style(number)}")
    return el(
        "svg", line, mark(16, 7, number), width=32, height=14, aria_hidden="true", class_="key"
    )


def style(number: int) -> str:
    """Returns the classes of the style sheet for the colour and dashes of a series."""
    dashes = number % DASHES
    return f"s{number % COLOURS}" + (f" d{dashes}" if dashes else "")


def axes(
    frame: Frame, x_name: str, *, x_ticks: Sequence[tuple[float, str]], whole: bool = False
) -> Iterator[Markup]:
    """Yields rules, ticks and the name of the horizontal axis.

    Args:
        frame: Place of the data.
        x_name: Quantity on the horizontal axis.
        x_ticks: Values on the horizontal axis, and their texts.
        whole: Whether the vertical axis counts things, so that halves make no sense.
    """
    foot, right = TOP + PLOT, frame.width - frame.margin
    for value, text in ticks(frame.y, 5, whole=whole):
        y = frame.top(value)
        yield el("line", x1=LEFT, x2=right, y1=y, y2=y, class_="rule")
        yield el("text", text, x=LEFT - 7, y=y + 4, text_anchor="end")
    for value, text in x_ticks:
        left = frame.left(value)
        # A long number at the right end would be cut in the middle.
        anchor = "end" if left > right - 2 and len(text) > 3 else "middle"
        yield el("text", text, x=left, y=foot + 16, text_anchor=anchor)
    yield el("text", x_name, x=(LEFT + right) / 2, y=foot + 33, text_anchor="middle")


def ticks(bounds: tuple[float, float], count: int, *, whole: bool) -> list[tuple[float, str]]:
    """About ``count`` round numbers within ``bounds``, each with its text."""
    low, high = bounds
    locator = MaxNLocator(count, integer=whole, steps=_WHOLE_STEPS if whole else _STEPS)
    slack = 1e-9 * (high - low)
    values = [float(t) for t in locator.tick_values(low, high) if low - slack <= t <= high + slack]
    values = [value for value in values if value.is_integer() or not whole]
    step = min(np.diff(values), default=1.0)
    decimals = max(0, int(np.ceil(-np.log10(step) - 1e-9)))
    # A step of 2.5 or 0.25 needs one decimal more than its order of magnitude.
    decimals += round(step, decimals) != round(step, decimals + 1)
    if decimals > 4 or high >= 1e6:
        return [(value, f"{value:.3g}") for value in values]
    return [(value, f"{value:,.{decimals}f}") for value in values]


def span(
    values: Sequence[Values],
    least: tuple[float, float] | None = None,
    limits: tuple[float, float] = _ANY,
    *,
    whole: bool = False,
) -> tuple[float, float]:
    """Returns two round numbers that enclose all of ``values`` and stay within ``limits``.

    Args:
        values: Arrays, in which NaN is no value.
        least: Lowest and highest number to enclose in any case.
        limits: Numbers that values cannot pass, such as 0 for a norm.
        whole: Whether values count things.
    """
    every = np.concatenate([*values, np.array(least or ())])
    low, high = float(np.nanmin(every)), float(np.nanmax(every))
    if high - low < 1e-9 * max(1.0, abs(high)):
        # An axis of no length cannot be drawn.
        room = 0.1 * abs(high) or 1.0
        low, high = low - room, high + room
    low, high = max(low, limits[0]), min(high, limits[1])
    steps = _WHOLE_STEPS if whole else _STEPS
    locator = MaxNLocator(5, integer=whole, steps=steps)
    rounded = locator.tick_values(low, high)
    # Once more: a wider axis may have a wider step, and should still end on a tick.
    rounded = locator.tick_values(rounded[0], rounded[-1])
    return max(float(rounded[0]), limits[0]), min(float(rounded[-1]), limits[1])


def edges(line: Line) -> Iterator[Values]:
    """Yields all values of a line that an axis must enclose."""
    yield line.y
    for low, high in line.bands:
        yield low
        yield high


def svg(body: Sequence[Markup | None], label: str, height: float, width: float = WIDTH) -> Markup:
    """Returns a picture that scales with the room it gets; ``label`` is read to the blind."""
    box = f"0 0 {width:g} {height:.0f}"
    return el("svg", join(*body), viewBox=box, role="img", aria_label=label)


def _marks(line: Line, frame: Frame) -> Markup:
    """Draws a line on top of its bands; its name is the tooltip of all of them."""
    look = style(line.style)
    shapes = [el("title", line.name)]
    for low, high in line.bands:
        known = np.isfinite(low) & np.isfinite(high)
        upper = [(x, y) for x, y, k in zip(line.x, high, known, strict=True) if k]
        lower = [(x, y) for x, y, k in zip(line.x, low, known, strict=True) if k]
        outline = _path([*upper, *lower[::-1]], frame)
        shapes.append(el("path", d=f"{outline}Z", class_=f"band {look}"))
    points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if np.isfinite(y)]
    shapes.append(el("path", d=_path(points, frame), class_=f"line {look}"))
    if len(points) <= _DOTTED:
        shapes += [
            el("circle", cx=frame.left(x), cy=frame.top(y), r=2.6, class_=f"bar {look}")
            for x, y in points
        ]
    return el("g", *shapes)


def _end_names(series: Sequence[Line]) -> list[str]:
    """Names to write at the ends of lines; none where one line has nobody to be taken for."""
    if not 1 < len(series) <= _NAMED:
        return []
    return [shorten(line.name, _LETTERS) for line in series]


def _room_for(labels: Sequence[str]) -> float:
    """Margin at the right of a chart whose lines have names at their ends."""
    longest = max(map(len, labels), default=0)
    return RIGHT + (_LETTER * longest if labels else 0.0)


def _end_labels(series: Sequence[Line], labels: Sequence[str], frame: Frame) -> Iterator[Markup]:
    """Yields the mark of each line at its last point and its name beside it, none on another."""
    x = frame.width - frame.margin + 10
    ends = []
    for line, label in zip(series, labels, strict=False):
        last = int(np.flatnonzero(np.isfinite(line.y))[-1])
        ends.append((frame.top(float(line.y[last])), line, label, frame.left(float(line.x[last]))))
    ends.sort(key=lambda end: end[0])
    # Downwards past each other, and then up again as far as the last one hangs over.
    places: list[float] = []
    for top, *_ in ends:
        places.append(max(top, places[-1] + _LINE) if places else top)
    over = max(0.0, places[-1] - (TOP + PLOT)) if places else 0.0
    for place, (top, line, label, left) in zip(places, ends, strict=True):
        yield mark(left, top, line.style)
        look = f"end {style(line.style)}"
        yield el("text", label, x=x, y=place - over + 4, class_=look)


def _path(points: Sequence[tuple[float, float]], frame: Frame) -> str:
    return "M" + "L".join(f"{frame.left(x):.1f} {frame.top(y):.1f}" for x, y in points)


def _hovers(series: Sequence[Line], xs: Values, frame: Frame, x_name: str) -> Iterator[Markup]:
    """Yields invisible strips whose tooltips give the value of every line where the pointer is."""
    shown = xs[:: -(-len(xs) // _HOVERS)]
    half = (frame.width - LEFT - frame.margin) / max(1, 2 * (len(shown) - 1))
    for x in shown:
        texts = [f"{x_name} {x:g}"]
        for line in series:
            at = np.searchsorted(line.x, x)
            if at < len(line.x) and line.x[at] == x and np.isfinite(line.y[at]):
                texts.append(f"{line.name}: {float(line.y[at]):.4g}")
        left = max(LEFT, frame.left(x) - half)
        right = min(frame.width - frame.margin, frame.left(x) + half)
        place = {"x": left, "y": TOP, "width": right - left, "height": PLOT}
        yield el("rect", el("title", "\n".join(texts)), **place, class_="hover")
