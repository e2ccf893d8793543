"""Panels of lines, one a row, with one legend below them all."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.comparison.figures.study_data import Curve, NothingToDraw, RowData, StudyData
from mmtrain.comparison.figures.style import GREY, MOST_LINES, WIDTHS, Look, blank, looks

# With more lines, bands cover each other.
MOST_BANDS: Final = 5
_MARKS_A_LINE: Final = 7
_PANEL: Final = 1.65  # inches of height
# Steps of a decade for ticks of a logarithmic axis.
_FINE: Final = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
_MIDDLE: Final = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
_COARSE: Final = (1.0, 2.0, 5.0)
_MOST_TICKS: Final = 7


class Panel(NamedTuple):
    """One pair of axes.

    Attributes:
        title: Title above it; empty for none.
        curves: Label of a row to its line.
        level: Value at which a horizontal line is drawn, such as 1 for a ratio.
    """

    title: str
    curves: Mapping[str, Curve]
    level: float | None = None


@dataclass(frozen=True, kw_only=True)
class AxisNames:
    """Names and scales of the axes of all panels.

    Attributes:
        x: Name of the horizontal axis.
        y: Name of the vertical axis.
        log: Whether the vertical axis is logarithmic.
        whole: Whether the horizontal axis counts.
    """

    x: str = "epoch"
    y: str
    log: bool = False
    whole: bool = True


def chosen_lines(
    study: StudyData, request: FigureRequest, having: Container[str] | None = None
) -> tuple[list[RowData], str]:
    """Rows of which there is a line, and the sentence about those that are left out.

    Args:
        study: The study.
        request: The figure.
        having: Labels of the rows that have what is drawn; all for None.
    """
    rows = [r for r in study.with_runs(request) if having is None or r.label in having]
    kept = rows if request.rows else study.best(rows, MOST_LINES)
    if len(kept) == len(rows):
        return rows, ""
    return kept, f" Shown are the best {len(kept)} of {len(rows)} rows."


def draw_panels(
    panels: Sequence[Panel], rows: Sequence[RowData], study: StudyData, width: str, axes: AxisNames
) -> Figure:
    """Draws panels below each other, or side by side on a whole page.

    Raises:
        NothingToDraw: No panel has a line.
    """
    panels = [panel for panel in panels if panel.curves]
    if not panels:
        raise NothingToDraw("no run has logged it")
    labels = [row.label for row in rows if any(row.label in p.curves for p in panels)]
    styles = looks(labels, study.baseline)
    columns = 1 if width == "column" else min(3, len(panels))
    lines = -(-len(panels) // columns)
    places = legend_columns(labels, WIDTHS[width])
    figure = blank(width, _PANEL * lines + 0.14 * -(-len(labels) // places) + 0.15)
    # Epochs are the same in all panels, and rates of modalities are not.
    shared: Literal["all", "none"] = "all" if axes.whole else "none"
    grid = figure.subplots(lines, columns, sharex=shared, sharey=True, squeeze=False)
    for place, panel in zip(grid.flat, panels, strict=False):
        _draw(place, panel, styles, axes)
    name_outer(grid, len(panels), axes.x, axes.y)
    add_legend(figure, [*grid.flat][: len(panels)], labels, places)
    return figure


def name_outer(grid: Any, count: int, x: str, y: str) -> None:
    """Names the axes of a grid at its edges, and hides the places that stay empty.

    Args:
        grid: Axes in lines and columns.
        count: Number of the places that are not empty.
        x: Name of the horizontal axes.
        y: Name of the vertical axes.
    """
    columns = grid.shape[1]
    for number, place in enumerate(grid.flat):
        place.set_visible(number < count)
        if number < count <= number + columns:
            place.set_xlabel(x)
            place.tick_params(labelbottom=True)
        if number % columns == 0:
            place.set_ylabel(y)


def draw_curve(place: Axes, curve: Curve, look: Look, label: str, *, band: bool) -> None:
    """Draws one line, with marks at some of its points, and its band."""
    place.plot(
        curve.x,
        curve.mean,
        color=look.colour,
        linestyle=look.dashes,
        marker=look.mark,
        markevery=max(1, -(-len(curve.x) // _MARKS_A_LINE)),
        markerfacecolor="white",
        markeredgewidth=0.8,
        label=label,
    )
    if band and curve.std.any():
        low, high = curve.mean - curve.std, curve.mean + curve.std
        place.fill_between(curve.x, low, high, color=look.colour, alpha=0.15, linewidth=0)


def legend_columns(titles: Sequence[str], width: float) -> int:
    """Number of columns of a legend that fit in so many inches."""
    longest = max(map(len, titles), default=1)
    return max(1, min(len(titles), 4, int(width / (0.55 + 0.062 * longest))))


def add_legend(figure: Figure, places: Sequence[Axes], labels: Sequence[str], columns: int) -> None:
    """Puts one legend below all panels, with each line once and in the order of ``labels``."""
    handles: dict[str, Any] = {}
    for place in places:
        for handle, label in zip(*place.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    # A single line needs no name.
    known = [label for label in labels if label in handles]
    if len(known) > 1:
        figure.legend(
            [handles[label] for label in known],
            known,
            loc="outside lower center",
            ncols=columns,
        )


def _draw(place: Axes, panel: Panel, styles: Mapping[str, Look], axes: AxisNames) -> None:
    if panel.title:
        place.set_title(panel.title)
    if panel.level is not None:
        place.axhline(panel.level, color=GREY, linewidth=0.7)
    for label, look in styles.items():
        if label in panel.curves:
            band = len(styles) <= MOST_BANDS
            draw_curve(place, panel.curves[label], look, label, band=band)
    if axes.whole:
        place.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if axes.log:
        place.set_yscale("log")
        low, high = place.get_ylim()
        place.set_yticks(_round_ratios(low, high))
        place.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        place.yaxis.set_minor_locator(NullLocator())
    place.grid(axis="y")


def _round_ratios(low: float, high: float) -> list[float]:
    """Some round numbers between two positive ones, the closer the ends the more of a decade."""
    for steps in (_FINE, _MIDDLE, _COARSE, (1.0,)):
        values = [step * 10.0**power for power in range(-8, 9) for step in steps]
        within = [value for value in values if low <= value <= high]
        if len(within) <= _MOST_TICKS:
            return within
    return within[:: -(-len(within) // _MOST_TICKS)]
