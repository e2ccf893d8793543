"""What evaluations of other tasks than classification show: scores, segments, types of question."""

from collections.abc import Sequence

import numpy as np

from mmprep.html.charts import Line, grid, lines
from mmprep.html.markup import Markup, join, note, table
from mmtrain.report.charts.scatter import scatter
from mmtrain.report.runs.groups import Spread, modalities_of
from mmtrain.report.runs.records import FUSED, Evaluation
from mmtrain.report.sections.robustness import Evaluated


def scores(evaluated: Evaluated) -> Markup | None:
    """Draws predicted scores over true ones, for the first seed of each group."""
    charts = []
    for group, each in evaluated:
        if each[0].scatter:
            true, predicted = zip(*each[0].scatter, strict=True)
            charts.append(scatter(group.label, true, predicted, group.style))
    if not charts:
        return None
    text = "Predicted score of each sample over its true one, for the first seed; on the line both "
    return join(note(text + "are equal."), grid(*charts))


def segments(evaluated: Evaluated) -> Markup | None:
    """Draws the accuracy at each place of a sample."""
    series = []
    for group, each in evaluated:
        rows = [one.segments for one in each if one.segments]
        if rows:
            mean = 100 * np.mean(rows, axis=0)
            x = np.arange(1, len(mean) + 1, dtype=float)
            series.append(Line(name=group.label, style=group.style, x=x, y=mean))
    if not series:
        return None
    title = "accuracy by segment (%)"
    return grid(lines(title, series, x_name="segment", keyed=True, limits=(0.0, 100.0)))


def question_types(evaluated: Evaluated) -> Markup | None:
    """Lists the accuracy of each type of question, fused and by each modality's own logits."""
    names = dict.fromkeys(
        name for _, each in evaluated for one in each for name in one.measures.fused.groups
    )
    if not names:
        return None
    heads = [FUSED, *modalities_of([group for group, _ in evaluated])]
    head = ["type", "samples"]
    for group, _ in evaluated:
        owner = f"{group.label}: " if len(evaluated) > 1 else ""
        head += [f"{owner}{each}" for each in heads]
    rows = [
        [name, f"{_samples(evaluated, name):,}"]
        + [_accuracy(each, h, name) for _, each in evaluated for h in heads]
        for name in names
    ]
    return join(note("Accuracy by type (%)"), table(head, rows))


def _samples(evaluated: Evaluated, name: str) -> int:
    lines_ = (one.measures.fused.groups.get(name) for _, each in evaluated for one in each)
    return max(line.samples for line in lines_ if line is not None)


def _accuracy(each: Sequence[Evaluation], head: str, name: str) -> str:
    """Accuracy of one head on one type, with its spread over seeds."""
    found = [one.measures.head(head) for one in each]
    known = [one.groups[name].accuracy for one in found if one is not None and name in one.groups]
    return Spread.of(known).text(scale=100)
