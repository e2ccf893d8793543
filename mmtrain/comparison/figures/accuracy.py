"""The measure of every row, with its interval and the value of each seed; controls are lines."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mmtrain.comparison.figures.drawing import Drawing
from mmtrain.comparison.figures.lines import legend_columns
from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.comparison.figures.study_data import NothingToDraw, RowData, StudyData
from mmtrain.comparison.figures.style import (
    BLACK,
    COLOURS,
    GREY,
    HATCHES,
    WIDTHS,
    blank,
    height_of,
)
from mmtrain.comparison.statistics import BETTER, UNDECIDED, WORSE, interval
from mmtrain.tasks.measures import MEASURES, Measure

# Verdict to mark and its filling.
_MARKS: Final[Mapping[str, tuple[str, str]]] = {
    BETTER: (">", BLACK),
    UNDECIDED: ("o", "white"),
    WORSE: ("<", "white"),
}
_BASELINE: Final = ("D", BLACK)
_CONTROLS: Final = ("--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 4)), (0, (8, 2)))


def draw(study: StudyData, request: FigureRequest) -> Drawing:
    """Draws a line of the figure for each row, controls apart."""
    name = study.measure(request)
    measure = MEASURES[name]
    rows = [row for row in study.with_runs(request) if request.rows or not row.control]
    values = {row.label: row.results(name) for row in rows}
    rows = [row for row in rows if values[row.label]]
    if not rows:
        raise NothingToDraw(f"no row besides the controls has {measure.title}")
    bars = request.options.get("style") == "bars"
    width = str(request.options.get("width", "column"))
    controls = [] if request.rows else _controls(study, name)
    keys = [*_marks(rows, study), *_lines(controls, measure)]
    columns = legend_columns([str(key.get_label()) for key in keys], WIDTHS[width])
    figure = blank(width, height_of(len(rows), 0.55 + 0.14 * -(-len(keys) // columns)))
    place = figure.subplots()
    for height, row in enumerate(rows):
        scaled = [measure.scale * value for value in values[row.label]]
        if bars:
            _bar(place, height, scaled, HATCHES[height % len(HATCHES)])
        else:
            _dot(place, height, scaled, _mark(row, study))
    _limit(place, [v for each in values.values() for v in each], measure, from_zero=bars)
    _draw_lines(place, controls, measure.scale)
    place.set_yticks(range(len(rows)), [row.label for row in rows])
    place.set_ylim(len(rows) - 0.4, -0.6)
    place.set_xlabel(f"{measure.title}{measure.unit}")
    place.grid(axis="x")
    if keys:
        figure.legend(handles=keys, loc="outside lower center", ncols=columns)
    return Drawing(figure, _text(rows, study, bars))


def _controls(study: StudyData, name: str) -> list[tuple[str, float]]:
    """Title and value of each control."""
    rows = [row for row in study.rows if row.control and row.plain.get(name) is not None]
    return [(row.label, float(row.plain[name]["mean"])) for row in rows]


def _mark(row: RowData, study: StudyData) -> tuple[str, str]:
    """Mark and filling: what the comparison by samples found, never the height of a value."""
    if row.label == study.baseline or study.baselines.get(row.label) == row.label:
        return _BASELINE
    found = row.plain.get("against")
    return _MARKS[found["verdict"] if found else UNDECIDED]


def _dot(place: Axes, height: float, values: Sequence[float], mark: tuple[str, str]) -> None:
    mean = sum(values) / len(values)
    if len(values) > 1:
        low, high = interval(values)
        place.plot([low, high], [height, height], color=BLACK, linewidth=0.9)
        place.plot(values, [height + 0.24] * len(values), "|", color=COLOURS[0], markersize=4)
    place.plot(
        mean, height, mark[0], color=BLACK, markerfacecolor=mark[1], markersize=4.2, zorder=3
    )


def _bar(place: Axes, height: float, values: Sequence[float], hatch: str) -> None:
    mean = sum(values) / len(values)
    place.barh(height, mean, 0.7, facecolor="#DDE6F0", edgecolor=BLACK, hatch=hatch, linewidth=0.6)
    if len(values) > 1:
        low, high = interval(values)
        place.plot([low, high], [height, height], color=BLACK, linewidth=1.2)
        place.plot(values, [height] * len(values), "|", color=COLOURS[1], markersize=5)


def _marks(rows: Sequence[RowData], study: StudyData) -> list[Line2D]:
    """Keys of the marks that some row has."""
    there = {_mark(row, study) for row in rows if row.plain.get("against")}
    names = {mark: verdict for verdict, mark in _MARKS.items() if mark in there}
    if names:
        names = {_BASELINE: "baseline", **names}
    return [
        Line2D([], [], linestyle="", marker=m, color=BLACK, markerfacecolor=filling, label=text)
        for (m, filling), text in names.items()
    ]


def _lines(controls: Sequence[tuple[str, float]], measure: Measure) -> list[Line2D]:
    """Keys of the controls, each with its value: it may lie outside of the axis."""
    decimals = 1 if measure.percent else 3
    return [
        Line2D([], [], **_control(i), label=f"{title} {measure.scale * value:.{decimals}f}")
        for i, (title, value) in enumerate(controls)
    ]


def _draw_lines(place: Axes, controls: Sequence[tuple[str, float]], scale: int) -> None:
    """Draws the controls that are not too far from the rows."""
    low, high = place.get_xlim()
    near = [scale * v for _, v in controls if low - (high - low) <= scale * v <= 2 * high - low]
    for i, (_, value) in enumerate(controls):
        if scale * value in near:
            place.axvline(scale * value, **_control(i), zorder=0.5)
    ends = [low, high, *near]
    room = 0.03 * (max(ends) - min(ends))
    place.set_xlim(min([low, *(v - room for v in near)]), max([high, *(v + room for v in near)]))


def _control(number: int) -> dict[str, Any]:
    dashes = _CONTROLS[number % len(_CONTROLS)]
    return {"color": GREY, "linestyle": dashes, "linewidth": 0.9}


def _limit(place: Axes, values: Sequence[float], measure: Measure, *, from_zero: bool) -> None:
    """Ends the axis near what was measured: an interval of two seeds may be longer than it."""
    known = [measure.scale * value for value in values]
    room = 0.5 * (max(known) - min(known)) or 0.05 * abs(known[0]) or 1.0
    low, high = place.get_xlim()
    low, high = max(low, min(known) - room), min(high, max(known) + room)
    if measure.percent:
        low, high = max(low, 0.0), min(high, 101.0)
    place.set_xlim(0.0 if from_zero else low, high)


def _text(rows: Sequence[RowData], study: StudyData, bars: bool) -> str:
    several = max(len(row.runs) for row in rows) > 1
    text = f"{'Bar' if bars else 'Mark'}: {'mean over seeds' if several else 'the single seed'}"
    if several:
        text += "; line: its 95 % interval (Student's t), cut at the axis; strokes: single seeds"
    if any(row.plain.get("against") for row in rows):
        text += (
            f". Better and worse than {study.table['baseline']} as the paired comparison of "
            "samples and seeds finds at 5 % after Holm's correction"
        )
    return f"{text}."
