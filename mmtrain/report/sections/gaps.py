"""The gap to unimodal models, epoch by epoch: what joint training costs each modality."""

from collections.abc import Callable, Sequence

import numpy as np

from mmprep.html.charts import Line, grid, legend, lines
from mmprep.html.markup import Markup, note, section
from mmtrain.report.runs.groups import Group, Spread, measures_of, modalities_of, unimodal
from mmtrain.report.runs.read import RunRecord
from mmtrain.tasks.measures import MEASURES

ByEpoch = dict[int, float]


def gaps(groups: Sequence[Group]) -> Markup | None:
    """Draws, for each modality that has a unimodal model, how far it is ahead of own logits.

    None where the page has no such pair.
    """
    several = [group for group in groups if len(group.modalities) > 1]
    names = measures_of(groups)
    charts: list[Markup | None] = []
    for modality in modalities_of(several) if names else ():
        alone = [g for g in groups if unimodal(g.first.config) and g.modalities == (modality,)]
        if alone:
            charts.append(_chart(modality, alone[0], several, names[0], _own_logits))
            charts.append(_chart(modality, alone[0], several, names[0], _probed))
    if not any(charts):
        return None
    measure = MEASURES[names[0]]
    text = (
        f"Gap: {measure.title} on val of the unimodal model minus that of the run's own logits of "
        "the modality (or of a linear probe of its encoder, where runs were probed while they "
        "trained), both after the same epoch. A positive gap is what the run has not learnt of "
        "that modality so far."
    )
    shown = [(group.label, group.style) for group in several]
    return section(
        "Gap to unimodal models", note(text), legend(shown), grid(*charts), anchor="gaps"
    )


def _chart(
    modality: str,
    alone: Group,
    groups: Sequence[Group],
    measure: str,
    of_run: Callable[[RunRecord, str, str], ByEpoch],
) -> Markup | None:
    reference = _mean([_fused(run, measure) for run in alone.runs])
    scale = MEASURES[measure].scale
    series = []
    for group in groups:
        reached = _mean([of_run(run, modality, measure) for run in group.runs])
        epochs = [epoch for epoch in reached if epoch in reference]
        series.append(
            Line(
                name=group.label,
                style=group.style,
                x=np.array(epochs, float) + 1,
                y=np.array([scale * (reference[e] - reached[e]) for e in epochs], float),
            )
        )
    by = "own logits" if of_run is _own_logits else "probe"
    known = [line for line in series if len(line.x)]
    unit = " (points)" if MEASURES[measure].percent else ""
    return lines(f"gap of {modality}, {by}{unit}", known, y_span=(0.0, 0.0)) if known else None


def _mean(runs: Sequence[ByEpoch]) -> ByEpoch:
    """Mean over runs at each epoch that any of them has."""
    epochs = sorted({epoch for run in runs for epoch in run})
    return {epoch: Spread.of(run.get(epoch) for run in runs).mean for epoch in epochs}


def _fused(run: RunRecord, measure: str) -> ByEpoch:
    return {e.epoch: e.val.fused.value(measure) for e in run.epochs if e.val}


def _own_logits(run: RunRecord, modality: str, measure: str) -> ByEpoch:
    own = {e.epoch: e.val.head(modality) for e in run.epochs if e.val}
    return {epoch: measures.value(measure) for epoch, measures in own.items() if measures}


def _probed(run: RunRecord, modality: str, measure: str) -> ByEpoch:
    return {
        line.epochs - 1: line.accuracy[modality]
        for line in run.probes_by_epoch
        if measure == "accuracy" and modality in line.accuracy
    }
