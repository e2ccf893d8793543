"""The measure of every row, with its interval and the value of each seed; controls are lines."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mmtrain.comparison.figures.drawing import Drawing
from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.comparison.figures.study_data import NothingToDraw, RowData, StudyData
from mmtrain.comparison.figures.style import BLACK, COLOURS, GREY, HATCHES, blank, height_of
from mmtrain.comparison.statistics import BETTER, UNDECIDED, WORSE, interval
from mmtrain.tasks.measures import MEASURES

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
    figure = blank(width, height_of(len(rows), 0.75 + 0.14 * -(-(3 + len(controls)) // 2)))
    place = figure.subplots()
    for height, row in enumerate(rows):
        scaled = [measure.scale * value for value in values[row.label]]
        if bars:
            _bar(place, height, scaled, HATCHES[height % len(HATCHES)])
        else:
            _dot(place, height, scaled, _mark(row, study))
    keys = [*_marks(rows, study), *_lines(place, controls, measure.scale)]
    place.set_yticks(range(len(rows)), [row.title for row in rows])
    place.set_ylim(len(rows) - 0.4, -0.6)
    place.set_xlabel(f"{measure.title}{measure.unit}")
    place.grid(axis="x")
    _limit(place, values, [v for _, v in controls], measure.percent)
    if keys:
        figure.legend(handles=keys, loc="outside lower center", ncols=2)
    return Drawing(figure, _text(rows, study, bars))


def _controls(study: StudyData, name: str) -> list[tuple[str, float]]:
    """Title and value of each control."""
    rows = [row for row in study.rows if row.control and row.plain.get(name) is not None]
    return [(row.title, float(row.plain[name]["mean"])) for row in rows]


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


def _lines(place: Axes, controls: Sequence[tuple[str, float]], scale: int) -> list[Line2D]:
    keys = []
    for (title, value), dashes in zip(controls, (*_CONTROLS,) * 9, strict=False):
        look: dict[str, Any] = {"color": GREY, "linestyle": dashes, "linewidth": 0.9}
        place.axvline(scale * value, **look, zorder=0.5)
        keys.append(Line2D([], [], **look, label=title))
    return keys


def _limit(
    place: Axes, values: Mapping[str, Sequence[float]], controls: Sequence[float], percent: bool
) -> None:
    """Ends the axis at what was measured: an interval of two seeds may be longer than it."""
    scale = 100 if percent else 1
    known = [scale * v for each in (*values.values(), controls) for v in each]
    room = 0.12 * (max(known) - min(known)) or 0.05 * abs(known[0]) or 1.0
    low, high = place.get_xlim()
    least, most = min(known) - 3 * room, max(known) + 3 * room
    low, high = max(low, least), min(high, most)
    place.set_xlim(
        max(low, 0.0) if percent else low, min(high, 100.0 + room / 4) if percent else high
    )


def _text(rows: Sequence[RowData], study: StudyData, bars: bool) -> str:
    several = max(len(row.runs) for row in rows) > 1
    text = "Bar: mean over seeds" if bars else "Mark: mean over seeds"
    if several:
        text += "; line: its 95 % interval (Student's t); strokes: single seeds"
    if any(row.plain.get("against") for row in rows):
        text += (
            f". Better and worse than {study.table['baseline']} as the paired comparison of "
            "samples and seeds finds at 5 % after Holm's correction"
        )
    return f"{text}."
