"""Figures of loss landscapes: lines along one direction, contours over two."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from mmtrain.evaluation.drawing import MUTED, figure_style, panels, save, set_logarithmic, style
from mmtrain.evaluation.landscape import FUSED
from mmtrain.names import short_names

# Losses that span more than this factor are drawn over a logarithmic axis.
_SPAN: Final = 20.0
_LEVELS: Final = 14
_COLUMNS: Final = 3


def draw_landscapes(reports: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws reports of `mmtrain.evaluation.landscape.landscape` into a file."""
    with figure_style():
        save(figure_of(reports), path)


def figure_of(reports: Sequence[Mapping[str, Any]]) -> Figure:
    """The figure of reports of one grid, of which there is one at least."""
    first = reports[0]
    figure = _lines(reports) if first["grid"]["axes"] == 1 else _contours(reports)
    samples = f"{first['samples']} samples of {first['split']}"
    seed = first["grid"]["seed"]
    text = f"loss on {samples}, along filter-normalised random directions (seed {seed})"
    figure.suptitle(text, fontsize=9, color=MUTED)
    return figure


def _names(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    return short_names([Path(report["run"]) for report in reports])


def _values(report: Mapping[str, Any], head: str) -> Any:
    return np.array(report["loss"][head], dtype=float)


def _lines(reports: Sequence[Mapping[str, Any]]) -> Figure:
    """A panel for the fused logits and for each modality's own, a line a run."""
    heads = list(dict.fromkeys(head for report in reports for head in report["loss"]))
    figure, (row,) = panels(1, len(heads), (2.7, 2.6))
    for head, panel in zip(heads, row, strict=True):
        drawn = []
        for number, (report, name) in enumerate(zip(reports, _names(reports), strict=True)):
            if head in report["loss"]:
                values = _values(report, head)
                panel.plot(report["coordinates"], values, label=name, lw=1.5, **style(number))
                drawn.append(values)
        if _spans(np.concatenate(drawn)):
            set_logarithmic(panel)
        title = head if head == FUSED else f"own logits of {head}"
        panel.set(title=title, xlabel="distance from the trained weights")
    row[0].set_ylabel("loss")
    if len(reports) > 1:
        handles, labels = row[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", fontsize=8)
    return figure


def _contours(reports: Sequence[Mapping[str, Any]]) -> Figure:
    """A panel a run, with common levels, so that a steeper run has more lines."""
    columns = min(_COLUMNS, len(reports))
    figure, rows = panels(-(-len(reports) // columns), columns, (2.9, 2.75))
    axes = [panel for row in rows for panel in row]
    surfaces = [_values(report, FUSED) for report in reports]
    low = min(float(np.nanmin(values)) for values in surfaces)
    high = max(float(np.nanmax(values)) for values in surfaces)
    levels = _levels(low, high)
    filled: Any = None
    for panel, report, name, values in zip(axes, reports, _names(reports), surfaces, strict=False):
        x = report["coordinates"]
        # The first axis of the grid goes to the right.
        surface = np.ma.masked_invalid(values.T)
        filled = panel.contourf(x, x, surface, levels, cmap="viridis")
        drawn: Any = panel.contour(x, x, surface, levels, colors="white", linewidths=0.5)
        panel.clabel(drawn, levels[1::3], fontsize=6, fmt="%#.3g")
        panel.plot(0, 0, marker="+", color="white", markersize=8, markeredgewidth=1.6)
        panel.set(title=name, aspect="equal", xlabel="direction 1", ylabel="direction 2")
        panel.grid(visible=False)
    for panel in axes[len(reports) :]:
        panel.set_axis_off()
    bar = figure.colorbar(filled, ax=axes, shrink=0.85, label="loss of the fused logits")
    bar.set_ticks(levels[::3], labels=[f"{level:#.3g}" for level in levels[::3]])
    return figure


def _spans(values: Any) -> bool:
    """Whether losses are so far apart that a linear axis would show the largest only."""
    known = values[np.isfinite(values)]
    return bool(len(known) and known.min() > 0 and known.max() > _SPAN * known.min())


def _levels(low: float, high: float) -> Any:
    """Losses at which contours run: nearer to each other where the loss is small."""
    if high <= low:
        high = low + 1e-6 + abs(low) * 1e-3
    if low > 0 and high > 2 * low:
        return np.geomspace(low, high, _LEVELS)
    return np.linspace(low, high, _LEVELS)
