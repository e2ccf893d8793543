"""The measure on val after each stage of methods that train one modality after the other."""

from collections.abc import Mapping
from itertools import accumulate, cycle, takewhile
from typing import Any, Final

from mmtrain.comparison.figures.drawing import Drawing
from mmtrain.comparison.figures.lines import AxisNames, Panel, chosen_lines, draw_panels
from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.comparison.figures.study_data import (
    Curve,
    NothingToDraw,
    RowData,
    StudyData,
    epochs_of,
)
from mmtrain.config.run import TrainConfig
from mmtrain.methods.shared.turns import stages
from mmtrain.tasks.measures import MEASURES, shown

# Parameter of every method that takes turns.
STAGES: Final = "stage_epochs"
_FUSED: Final = "fused"


def draw(study: StudyData, request: FigureRequest) -> Drawing:
    """Draws a panel for the fused prediction and one for each modality, a line a row."""
    every = study.with_runs(request)
    staged = [row.label for row in every if row.config is not None and ends_of(row.config)]
    rows, left = chosen_lines(study, request, staged)
    if not rows:
        raise NothingToDraw("no row has a method with stages, such as igm")
    modalities = rows[0].modalities
    names = [
        name for row in rows for run in row.runs.values() for name in _measures(epochs_of(run))
    ]
    if not names:
        raise NothingToDraw("the data have no val split, on which epochs are measured")
    measure = names[0]
    panels = [
        Panel(head, {row.label: curve for row in rows if (curve := _curve(row, head, measure))})
        for head in (_FUSED, *modalities)
    ]
    axes = AxisNames(x="stage", y=f"{MEASURES[measure].title} on val{MEASURES[measure].unit}")
    figure = draw_panels(panels, rows, study, str(request.options.get("width", "column")), axes)
    order = ", ".join(modalities)
    return Drawing(
        figure,
        f"{MEASURES[measure].title[:1].upper()}{MEASURES[measure].title[1:]} on val after each "
        f"stage, fused and of each modality's own logits; stages train {order} in turn. Lines: "
        f"mean over seeds; bands, where there are few lines: its standard deviation.{left}",
    )


def ends_of(config: TrainConfig) -> list[int]:
    """Number of epochs after which each stage of a run ends; none where the method has no stages.

    A stage that the run cuts short has no end.
    """
    method = config.settings.get("method", {})
    if STAGES not in method:
        return []
    lengths = stages(str(method[STAGES]), len(config.modalities), config.epochs)
    return [*takewhile(lambda end: end <= config.epochs, accumulate(cycle(lengths)))]


def _measures(lines: list[dict[str, Any]]) -> tuple[str, ...]:
    return shown(lines[0]["val"] or ()) if lines else ()


def _curve(row: RowData, head: str, measure: str) -> Curve | None:
    ends = {end - 1: stage for stage, end in enumerate(ends_of(_config(row)), 1)}
    points: dict[float, list[float]] = {}
    for run in row.runs.values():
        for line in epochs_of(run):
            if line["epoch"] in ends and (value := _value(line["val"], head, measure)) is not None:
                scaled = MEASURES[measure].scale * value
                points.setdefault(ends[line["epoch"]], []).append(scaled)
    return Curve.of(points) if points else None


def _config(row: RowData) -> TrainConfig:
    assert row.config is not None  # Rows without runs have been left out.
    return row.config


def _value(val: Mapping[str, Any] | None, head: str, measure: str) -> float | None:
    if not val:
        return None
    value: float | None = (val if head == _FUSED else val["modalities"].get(head, {})).get(measure)
    return value
