"""How far the modalities are apart on val, by epoch: OGM's ratio, or the gap of accuracies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from mmtrain.comparison.figures.drawing import Drawing
from mmtrain.comparison.figures.lines import AxisNames, Panel, chosen_lines, draw_panels
from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.comparison.figures.study_data import NothingToDraw, RowData, StudyData
from mmtrain.tasks.measures import MEASURES, shown

Pick: TypeAlias = Callable[[Mapping[str, Any]], float | None]


def draw(study: StudyData, request: FigureRequest) -> Drawing:
    """Draws ``rho`` of the first of two modalities, or of each of three; or the gap."""
    several = [row.label for row in study.with_runs(request) if len(row.modalities) > 1]
    rows, left = chosen_lines(study, request, several)
    if not rows:
        raise NothingToDraw("no row has several modalities")
    width = str(request.options.get("width", "column"))
    if request.options.get("of") == "gap":
        gap, meaning = _gap(rows)
        curves = _curves(rows, gap)
        figure = draw_panels(
            [Panel("", curves, 0.0)], rows, study, width, AxisNames(y="gap on val (points)")
        )
        return Drawing(figure, f"{meaning} Lines: mean over seeds.{left}")
    modalities = list(dict.fromkeys(m for row in rows for m in row.modalities))
    # Of two, the ratio of the second is one over that of the first.
    drawn = modalities[:1] if len(modalities) == 2 else modalities
    panels = [Panel("" if len(drawn) == 1 else m, _curves(rows, _rho(m)), 1.0) for m in drawn]
    if not any(panel.curves for panel in panels):
        raise NothingToDraw("no run has rho on val: it needs a val split and a task with classes")
    name = f"rho of {drawn[0]} on val" if len(drawn) == 1 else "rho on val"
    figure = draw_panels(panels, rows, study, width, AxisNames(y=name, log=True))
    return Drawing(
        figure,
        "Discrepancy ratio rho (Wei et al., TPAMI 2024, Eq. 7) on val by epoch, for every method "
        "from its own logits of each modality; above 1 the modality is ahead. Lines: mean over "
        f"seeds.{left}",
    )


def _curves(rows: Sequence[RowData], pick: Pick) -> dict[str, Any]:
    curves = {row.label: row.by_epoch(pick) for row in rows}
    return {label: curve for label, curve in curves.items() if curve is not None}


def _rho(modality: str) -> Pick:
    def pick(line: Mapping[str, Any]) -> float | None:
        value: float | None = (line.get("val") or {}).get(f"rho.{modality}")
        return value

    return pick


def _gap(rows: Sequence[RowData]) -> tuple[Pick, str]:
    """Difference of two modalities; of more, that of the best and the worst."""
    modalities = list(dict.fromkeys(m for row in rows for m in row.modalities))

    def pick(line: Mapping[str, Any]) -> float | None:
        val = line.get("val")
        if not val:
            return None
        name = shown(val)[0]
        own = [(val["modalities"].get(m) or {}).get(name) for m in modalities]
        known: list[float] = [MEASURES[name].scale * value for value in own if value is not None]
        if len(known) < 2:
            return None
        return known[0] - known[1] if len(modalities) == 2 else max(known) - min(known)

    whose = (
        f"{modalities[0]} less {modalities[1]}"
        if len(modalities) == 2
        else "the best modality less the worst"
    )
    return pick, f"Difference of the modalities' own logits on val by epoch, {whose}."
