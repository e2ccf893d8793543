"""The measure by a parameter that rows or the points of a grid differ in; by two as a heat map."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from mmtrain.comparison.figures.drawing import Drawing
from mmtrain.comparison.figures.lines import add_legend, legend_columns, name_outer
from mmtrain.comparison.figures.parameters import (
    chosen_parameters,
    is_number,
    numeric_parameters,
    of_grid,
)
from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.comparison.figures.study_data import NothingToDraw, RowData, Spread, StudyData
from mmtrain.comparison.figures.style import BLACK, GREY, MOST_LINES, WIDTHS, Look, blank, looks
from mmtrain.errors import ConfigError
from mmtrain.tasks.measures import MEASURES, Measure, rank

# Ratio of the ends of an axis above which it is logarithmic.
_LOG: Final = 20
_MOST_MAPS: Final = 9


class Point(NamedTuple):
    """One row, or one point of the grid of a row.

    Attributes:
        series: Line or heat map that it belongs to.
        place: Value of each parameter.
        spread: Mean and deviation of the measure, as they are drawn.
        chosen: Whether tuning took it.
    """

    series: str
    place: tuple[float, ...]
    spread: Spread
    chosen: bool = False


class Sweep(NamedTuple):
    """All that is drawn.

    Attributes:
        parameters: Names of the one or two axes.
        points: Points of all series.
        levels: Label of each row without a value of the parameters, to its measure.
        where: Split and seeds, for the caption.
    """

    parameters: list[str]
    points: list[Point]
    levels: dict[str, float]
    where: str


def draw(study: StudyData, request: FigureRequest) -> Drawing:
    """Draws lines over one parameter, or a heat map of two for each series."""
    name = study.measure(request)
    rows = study.with_runs(request)
    try:
        if of_grid(request, [row.values for row in rows], any(map(_grid, rows))):
            sweep = _of_grid(study, rows, request, name)
        else:
            sweep = _of_rows(rows, request, name)
    except ConfigError as error:
        raise NothingToDraw(str(error)) from error
    if not sweep.points:
        raise NothingToDraw("no row has a value of its parameters and a result")
    width = str(request.options.get("width", "column"))
    measure = MEASURES[name]
    planes = len(sweep.parameters) == 2
    figure = (_maps if planes else _lines)(sweep, measure, width, study)
    return Drawing(figure, f"{measure.title[:1].upper()}{measure.title[1:]} {sweep.where}")


def _grid(row: RowData) -> Sequence[Mapping[str, Any]]:
    tuned: Sequence[Mapping[str, Any]] = row.plain.get("tuned") or ()
    return tuned


def _of_rows(rows: Sequence[RowData], request: FigureRequest, name: str) -> Sweep:
    values = [row.values for row in rows]
    parameters = chosen_parameters(request, numeric_parameters(values))
    others = [
        key
        for key in dict.fromkeys(key for each in values for key in each)
        if key not in parameters
        and len({repr(each.get(key)) for each in values if parameters[0] in each}) > 1
    ]
    points, levels = [], {}
    for row in rows:
        measured = [MEASURES[name].scale * value for value in row.results(name)]
        if not measured:
            continue
        if all(is_number(row.values.get(p)) for p in parameters):
            series = ", ".join(str(row.values[key]) for key in others if key in row.values)
            place = tuple(float(row.values[p]) for p in parameters)
            points.append(Point(series, place, Spread.of(measured)))
        elif not row.control:
            levels[row.label] = Spread.of(measured).mean
    split = rows[0].plain["split"]
    where = f"on {split} by row: mean over seeds, with one standard deviation."
    return Sweep(parameters, points, levels, where)


def _of_grid(study: StudyData, rows: Sequence[RowData], request: FigureRequest, name: str) -> Sweep:
    tried = [each for row in rows for each in _grid(row)]
    known = list(dict.fromkeys(key for each in tried for key in each["values"]))
    parameters = chosen_parameters(request, known)
    left = study.best(rows, MOST_LINES if len(parameters) == 1 else _MOST_MAPS)
    best: dict[tuple[str, tuple[Any, ...]], tuple[float, bool]] = {}
    for row in left:
        for each in _grid(row):
            place = tuple(each["values"][p] for p in parameters)
            value = (each["val"] or {}).get(name)
            if value is None or not all(map(is_number, place)):
                continue
            key = row.label, place
            former = best.get(key, (value, False))
            better = rank(name, value) >= rank(name, former[0])
            best[key] = (value if better else former[0], former[1] or each["chosen"])
    scale = MEASURES[name].scale
    points = [
        Point(title, tuple(map(float, place)), Spread(scale * value, 0.0), chosen)
        for (title, place), (value, chosen) in best.items()
    ]
    seeds = ", ".join(map(str, dict.fromkeys(each["seed"] for each in tried)))
    where = f"on val of every point of the grid, seed {seeds}; the filled one was taken."
    if len(known) > len(parameters):
        where += " The best over the other parameters."
    if len(left) < len(rows):
        where += f" Shown are the best {len(left)} of {len(rows)} rows."
    return Sweep(parameters, points, {}, where)


def _lines(sweep: Sweep, measure: Measure, width: str, study: StudyData) -> Figure:
    series = list(dict.fromkeys(point.series for point in sweep.points))
    levels = [*sweep.levels]
    names = [*(each for each in series if each), *levels]
    columns = legend_columns(names, WIDTHS[width])
    figure = blank(width, 1.9 + 0.14 * -(-len(names) // columns))
    place = figure.subplots()
    styles = looks([*series, *levels], study.baseline)
    for each in series:
        _line(place, sorted(p for p in sweep.points if p.series == each), styles[each])
    for title, level in sweep.levels.items():
        place.axhline(level, color=GREY, linestyle=styles[title].dashes, linewidth=0.9, label=title)
    _name_places(place, sorted({point.place[0] for point in sweep.points}))
    place.set_xlabel(_short(sweep.parameters[0]))
    place.set_ylabel(f"{measure.title}{measure.unit}")
    place.grid(axis="y")
    add_legend(figure, [place], names, columns)
    return figure


def _line(place: Axes, points: Sequence[Point], look: Look) -> None:
    x = [point.place[0] for point in points]
    y = [point.spread.mean for point in points]
    line = {"color": look.colour, "linestyle": look.dashes, "marker": look.mark}
    place.plot(x, y, **line, markerfacecolor="white", label=points[0].series or "_")
    std = [point.spread.std for point in points]
    if any(std):
        place.errorbar(x, y, std, fmt="none", ecolor=look.colour, elinewidth=0.8, capsize=1.5)
    for point in points:
        if point.chosen:
            place.plot(point.place[0], point.spread.mean, look.mark, color=look.colour)


def _maps(sweep: Sweep, measure: Measure, width: str, study: StudyData) -> Figure:
    series = list(dict.fromkeys(point.series for point in sweep.points))
    columns = min(len(series), 1 if width == "column" else 3)
    lines = -(-len(series) // columns)
    figure = blank(width, 0.2 + 1.9 * lines)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    means = [point.spread.mean for point in sweep.points]
    ends = min(means), max(means)
    picture: Any = None
    for place, each in zip(grid.flat, series, strict=False):
        points = [point for point in sweep.points if point.series == each]
        picture = _map(place, points, sweep, ends)
        place.set_title(each if len(series) > 1 else _levels_text(sweep, measure))
    name_outer(grid, len(series), _short(sweep.parameters[0]), _short(sweep.parameters[1]))
    bar = figure.colorbar(picture, ax=[*grid.flat], aspect=25, pad=0.02)
    bar.set_label(f"{measure.title}{measure.unit}")
    bar.outline.set_visible(False)
    return figure


def _map(place: Axes, points: Sequence[Point], sweep: Sweep, ends: tuple[float, float]) -> Any:
    """Draws one heat map; places where nothing was tried stay white."""
    xs, ys = (sorted({point.place[i] for point in sweep.points}) for i in (0, 1))
    values = np.full((len(ys), len(xs)), np.nan)
    for point in points:
        values[ys.index(point.place[1]), xs.index(point.place[0])] = point.spread.mean
    low, high = ends
    room = 0.5 if low == high else 0.0
    picture = place.imshow(
        values, origin="lower", aspect="auto", cmap="cividis", vmin=low - room, vmax=high + room
    )
    for point in points:
        x, y = xs.index(point.place[0]), ys.index(point.place[1])
        dark = point.spread.mean < (low + high) / 2
        text = f"{point.spread.mean:.1f}" if high > 1 else f"{point.spread.mean:.3f}"
        weight = "bold" if point.chosen else "normal"
        colour = "white" if dark else BLACK
        place.text(x, y, text, ha="center", va="center", fontsize=6, color=colour, weight=weight)
        if point.chosen:
            place.plot(x, y, "s", markersize=17, markerfacecolor="none", color=colour)
    place.set_xticks(range(len(xs)), [f"{x:g}" for x in xs])
    place.set_yticks(range(len(ys)), [f"{y:g}" for y in ys])
    return picture


def _levels_text(sweep: Sweep, measure: Measure) -> str:
    """The rows that have no place on the map."""
    decimals = 1 if measure.percent else 3
    return "; ".join(f"{title}: {value:.{decimals}f}" for title, value in sweep.levels.items())


def _name_places(place: Axes, values: Sequence[float]) -> None:
    """Ticks at the values that were tried, on a logarithmic axis where they span decades."""
    if values[0] > 0 and values[-1] / values[0] >= _LOG:
        place.set_xscale("log")
        place.xaxis.set_minor_locator(NullLocator())
    if len(values) <= 8:
        place.set_xticks(values, [f"{value:g}" for value in values])


def _short(parameter: str) -> str:
    """Name of a parameter without what it is of."""
    return parameter.rpartition(".")[2]
