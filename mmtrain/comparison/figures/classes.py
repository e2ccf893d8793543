"""Difference from the baseline for each class, of the fused prediction and of each modality."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mmtrain.comparison.figures.drawing import Drawing
from mmtrain.comparison.figures.lines import legend_columns
from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.comparison.figures.study_data import NothingToDraw, RowData, StudyData
from mmtrain.comparison.figures.style import GREY, WIDTHS, Look, blank, looks
from mmtrain.evaluation.sample_scores import SampleScores, sample_scores

# Head, which is a modality or FUSED, to the score of each class; NaN for one without samples.
ByClass: TypeAlias = Mapping[str, NDArray[np.float64]]
FUSED: Final = "fused"
_MOST_ROWS: Final = 5
_MOST_CLASSES: Final = 24


def draw(study: StudyData, request: FigureRequest) -> Drawing:
    """Draws a panel a head, with a line of classes and marks for the rows."""
    wanted = [row for row in study.with_runs(request) if request.rows or not row.control]
    pairs = _pairs(study, wanted)
    every = [row for row, _ in pairs]
    rows = every if request.rows else study.best(every, _MOST_ROWS)
    bases = {row.label: base for row, base in pairs}
    measured = {
        row.label: (scores_of(row, study), scores_of(bases[row.label], study)) for row in rows
    }
    names = next((s.classes for own, _ in measured.values() for s in own.values()), ())
    deltas = {label: deltas_of(*scores) for label, scores in measured.items()}
    deltas = {label: delta for label, delta in deltas.items() if delta}
    if not names or not deltas:
        raise NothingToDraw("the runs' samples have no classes, or cannot be predicted any more")
    heads = list(dict.fromkeys(head for delta in deltas.values() for head in delta))
    order = _order(deltas, int(request.options.get("most", _MOST_CLASSES)))
    width = str(request.options.get("width", "page"))
    styles = looks([*deltas], None)
    columns = legend_columns([*deltas], WIDTHS[width])
    figure = blank(width, 0.75 + 0.17 * len(order) + 0.14 * -(-len(deltas) // columns))
    places = figure.subplots(1, len(heads), sharey=True, squeeze=False)[0]
    for place, head in zip(places, heads, strict=True):
        _panel(place, head, {k: d[head][order] for k, d in deltas.items() if head in d}, styles)
    places[0].set_yticks(range(len(order)), [names[i] for i in order])
    places[0].set_ylim(len(order) - 0.4, -0.6)
    for place in places:
        place.set_xlabel("points more than the baseline")
    keys = [_key(look, label) for label, look in styles.items()]
    figure.legend(handles=keys, loc="outside lower center", ncols=columns, handlelength=1)
    return Drawing(figure, _text(study, rows, every, len(order), len(names)))


def scores_of(row: RowData, study: StudyData) -> dict[int, SampleScores]:
    """Seed to the scores of its run's samples."""
    split, data = row.plain["split"], str(study.table["data"])
    return {seed: sample_scores(run, split, data) for seed, run in row.runs.items()}


def deltas_of(
    own: Mapping[int, SampleScores], base: Mapping[int, SampleScores]
) -> dict[str, NDArray[np.float64]]:
    """Head to the difference in points for each class, averaged over the seeds of both."""
    seeds = [seed for seed in own if seed in base]
    mine = [by_class(own[seed]) for seed in seeds]
    theirs = [by_class(base[seed]) for seed in seeds]
    heads = [head for head in (mine[0] if mine else {}) if head in theirs[0]]
    return {
        head: 100 * np.mean([m[head] - t[head] for m, t in zip(mine, theirs, strict=True)], axis=0)
        for head in heads
    }


def by_class(samples: SampleScores) -> ByClass:
    """Mean score of the samples of each class, of every head; empty without classes."""
    if not samples.classes:
        return {}
    count = np.bincount(samples.labels, minlength=len(samples.classes)).astype(float)
    count[count == 0] = np.nan
    heads = {FUSED: samples.scores, **samples.by_modality}
    return {
        head: np.bincount(samples.labels, scores, len(samples.classes)) / count
        for head, scores in heads.items()
    }


def _pairs(study: StudyData, rows: Sequence[RowData]) -> list[tuple[RowData, RowData]]:
    """Each row with that of its baseline."""
    by_label = {row.label: row for row in study.rows if row.runs}
    pairs = []
    for row in rows:
        base = by_label.get(study.baselines.get(row.label, ""))
        if base is not None and base.label != row.label:
            pairs.append((row, base))
    if not pairs:
        raise NothingToDraw("no row has a baseline with finished runs")
    return pairs


def _order(deltas: Mapping[str, ByClass], most: int) -> list[int]:
    """Classes by the mean difference of the fused predictions, of many those with the largest."""
    fused = [delta[FUSED] for delta in deltas.values()]
    known = [i for i in range(len(fused[0])) if all(np.isfinite(each[i]) for each in fused)]
    largest = sorted(known, key=lambda i: -max(abs(each[i]) for each in fused))[:most]
    return sorted(largest, key=lambda i: -float(np.mean([each[i] for each in fused])))


def _panel(
    place: Axes, head: str, deltas: Mapping[str, NDArray[np.float64]], styles: Mapping[str, Look]
) -> None:
    place.axvline(0, color=GREY, linewidth=0.7)
    for number, (label, values) in enumerate(deltas.items()):
        shift = 0.6 * ((number + 0.5) / len(deltas) - 0.5)
        look = styles[label]
        heights = np.arange(len(values)) + shift
        place.plot(
            values, heights, look.mark, color=look.colour, markerfacecolor="white", label=label
        )
    place.set_title(head if head == FUSED else f"own logits of {head}")
    place.grid(axis="both")


def _key(look: Look, title: str) -> Line2D:
    return Line2D(
        [], [], linestyle="", marker=look.mark, color=look.colour, markerfacecolor="white",
        label=title,
    )  # fmt: skip


def _text(
    study: StudyData, rows: Sequence[RowData], every: Sequence[RowData], shown: int, classes: int
) -> str:
    text = (
        f"Accuracy of each class less that of {study.table['baseline']}, in points, averaged over "
        "the seeds of both."
    )
    if shown < classes:
        text += f" The {shown} of {classes} classes with the largest differences."
    if len(rows) < len(every):
        text += f" Shown are the best {len(rows)} of {len(every)} rows."
    return text
