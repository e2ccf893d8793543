"""Seconds of an epoch by row, and how many times as long as the baseline's."""

from collections.abc import Mapping
from typing import Any

from mmtrain.comparison.figures.drawing import Drawing
from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.comparison.figures.study_data import (
    NothingToDraw,
    RowData,
    Spread,
    StudyData,
    epochs_of,
)
from mmtrain.comparison.figures.style import BLACK, HATCHES, blank, height_of


def draw(study: StudyData, request: FigureRequest) -> Drawing:
    """Draws a bar for each row."""
    rows = study.with_runs(request)
    spreads = {row.label: seconds_of(row) for row in rows}
    known = {label: spread for label, spread in spreads.items() if spread is not None}
    if not known:
        raise NothingToDraw("no run has finished an epoch")
    rows = [row for row in rows if row.label in known]
    figure = blank(str(request.options.get("width", "column")), height_of(len(rows)))
    place = figure.subplots()
    longest = max(spread.mean + spread.std for spread in known.values())
    for height, row in enumerate(rows):
        spread = known[row.label]
        place.barh(
            height,
            spread.mean,
            0.7,
            xerr=spread.std,
            facecolor="#DDE6F0",
            edgecolor=BLACK,
            linewidth=0.6,
            hatch="////" if row.label == study.baseline else HATCHES[0],
            error_kw={"elinewidth": 0.9, "capsize": 1.5},
        )
        if (ratio := ratio_of(row.label, known, study)) is not None:
            end = spread.mean + spread.std + 0.02 * longest
            place.text(end, height, f"{ratio:.2f}x", va="center", fontsize=6.5)
    place.set_yticks(range(len(rows)), [row.label for row in rows])
    place.set_ylim(len(rows) - 0.4, -0.6)
    place.set_xlim(0, 1.2 * longest)
    place.set_xlabel("seconds an epoch")
    place.grid(axis="x")
    text = (
        "Seconds of an epoch of training and of scoring samples, evaluation apart: mean over the "
        "epochs after the first and over seeds, with one standard deviation."
    )
    if study.baseline is not None:
        text += " Behind a bar: its length in those of the row with which it is compared (hatched)."
    return Drawing(figure, text)


def seconds_of(row: RowData) -> Spread | None:
    """Seconds of an epoch, over all but the first epoch of each run, unless that is its only."""
    seconds: list[float] = []
    for run in row.runs.values():
        lines = epochs_of(run)
        # In the first epoch the machine warms up: caches, compilers, the loader.
        seconds += [_seconds(line) for line in lines[1:] or lines]
    return Spread.of(seconds) if seconds else None


def _seconds(line: Mapping[str, Any]) -> float:
    return float(line["seconds"]) + float(line.get("scoring_seconds", 0.0))


def ratio_of(label: str, seconds: Mapping[str, Spread], study: StudyData) -> float | None:
    """Mean seconds over those of the row with which ``label`` is compared."""
    base = study.baselines.get(label, study.baseline or "")
    if label == base or base not in seconds or not seconds[base].mean:
        return None
    return seconds[label].mean / seconds[base].mean
