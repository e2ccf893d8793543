"""Quality of the encoders over epochs: the probes that training made on its way."""

from collections.abc import Iterator, Sequence

import numpy as np

from mmprep.html.charts import Line, edges, grid, lines
from mmprep.html.markup import Markup, el, join, note
from mmtrain.report.runs.groups import Group, Spread, modalities_of


def probes_by_epoch(groups: Sequence[Group]) -> Markup | None:
    """Draws a chart for each modality, with a line a group; None where nothing was probed."""
    charts = {
        modality: [line for group in groups for line in _lines(group, modality)]
        for modality in modalities_of(groups)
    }
    every = [edge for series in charts.values() for line in series for edge in edges(line)]
    if not every:
        return None
    # One vertical axis for all charts, so that they can be compared.
    span = (min(float(np.nanmin(e)) for e in every), max(float(np.nanmax(e)) for e in every))
    drawn = (
        lines(
            f"probe of {modality}: accuracy, val (%)",
            series,
            keyed=True,
            y_span=span,
            limits=(0.0, 100.0),
        )
        for modality, series in charts.items()
    )
    text = "The same probes on val, after every so many epochs of training."
    return join(el("h3", "Over the epochs"), note(text), grid(*drawn))


def _lines(group: Group, modality: str) -> Iterator[Line]:
    """The group's line, with a band of the deviation over its runs; none without probes."""
    by_epoch: dict[int, list[float]] = {}
    for run in group.runs:
        for line in run.probes_by_epoch:
            if modality in line.accuracy:
                by_epoch.setdefault(line.epochs, []).append(100 * line.accuracy[modality])
    if not by_epoch:
        return
    spreads = [Spread.of(by_epoch[epoch]) for epoch in sorted(by_epoch)]
    mean = np.array([spread.mean for spread in spreads])
    std = np.array([spread.std for spread in spreads])
    band = (np.clip(mean - std, 0.0, 100.0), np.clip(mean + std, 0.0, 100.0))
    yield Line(
        name=group.label,
        style=group.style,
        x=np.array(sorted(by_epoch), float),
        y=mean,
        bands=(band,) if np.isfinite(std).any() else (),
    )
