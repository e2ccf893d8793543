"""Figure of embedded features: a row of panels a run, samples coloured by class, spectra beside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmtrain.evaluation.drawing import (
    COLOURS,
    MARKERS,
    MUTED,
    figure_style,
    panels,
    save,
    set_logarithmic,
    style,
)
from mmtrain.names import short_names

# With more classes than this nobody reads a legend.
_CLASSES: Final = 32
_LINES_OF_LEGEND: Final = 16
# Shares of the largest singular value below this are rounding.
_LOWEST: Final = 1e-4


def draw_embeddings(reports: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws reports of `mmtrain.evaluation.embed.embed` into a file."""
    with figure_style():
        save(figure_of(reports), path)


def figure_of(reports: Sequence[Mapping[str, Any]]) -> Figure:
    """The figure of reports, of which there is one at least."""
    parts = list(dict.fromkeys(name for report in reports for name in report["parts"]))
    names = short_names([Path(report["run"]) for report in reports])
    figure, rows = panels(len(reports), len(parts) + 1, (2.55, 2.5))
    for report, name, axes in zip(reports, names, rows, strict=True):
        for part, panel in zip(parts, axes, strict=False):
            if part in report["parts"]:
                _draw_points(panel, report, part)
            else:
                _empty(panel)
        axes[0].set_ylabel(name, fontsize=9, fontweight="bold")
        _draw_spectra(axes[-1], report, parts)
    first = reports[0]
    classes = list(dict.fromkeys(c for report in reports for c in report["classes"]))
    text = f"t-SNE of the features of {first['samples']} samples of {first['split']}"
    figure.suptitle(f"{text}, {len(classes)} classes", fontsize=9, color=MUTED)
    if 0 < len(first["classes"]) <= _CLASSES:
        keys = [_key(i, name) for i, name in enumerate(first["classes"])]
        columns = -(-len(keys) // _LINES_OF_LEGEND)
        figure.legend(handles=keys, loc="outside right upper", ncols=columns, fontsize=8)
    return figure


def _mark(label: int) -> dict[str, Any]:
    """Colour and mark of a class; 8 and 7 have no common factor, so the first 56 pairs differ."""
    return {"color": COLOURS[label % len(COLOURS)], "marker": MARKERS[label % len(MARKERS)]}


def _empty(panel: Axes) -> None:
    """Leaves a panel blank but for its label, which names the row."""
    panel.set(xticks=[], yticks=[])
    for spine in panel.spines.values():
        spine.set_visible(False)


def _key(label: int, name: str) -> Line2D:
    return Line2D([], [], linestyle="none", markersize=5, label=name, **_mark(label))


def _draw_points(panel: Axes, report: Mapping[str, Any], part: str) -> None:
    points, labels = np.array(report["parts"][part]["points"]), np.array(report["labels"])
    size = float(np.clip(2500 / len(points), 5, 22))
    for label in np.unique(labels).tolist():
        x, y = points[labels == label].T
        panel.scatter(x, y, s=size, alpha=0.75, linewidths=0, **_mark(label))
    rank, width = report["parts"][part]["effective_rank"], report["parts"][part]["width"]
    panel.set_title(f"{part}\neffective rank {rank:.1f} of {width}")
    # Only which samples are near each other has a meaning in t-SNE.
    panel.set(xticks=[], yticks=[])
    for spine in panel.spines.values():
        spine.set_visible(True)


def _draw_spectra(panel: Axes, report: Mapping[str, Any], parts: Sequence[str]) -> None:
    for number, part in enumerate(parts):
        if part in report["parts"]:
            values = np.array(report["parts"][part]["singular_values"])
            shares = values / max(values[0], 1e-30)
            shown = shares[shares > _LOWEST]
            panel.plot(np.arange(len(shown)) + 1, shown, label=part, lw=1.4, **style(number))
    set_logarithmic(panel)
    panel.set(title="singular values\nover the largest", xlabel="number")
    panel.legend(fontsize=8)
