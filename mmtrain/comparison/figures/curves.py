"""A quantity by epoch, a line a row: the training loss, a measure of val, or what a method logs."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from mmtrain.comparison.figures.drawing import Drawing
from mmtrain.comparison.figures.lines import AxisNames, Panel, chosen_lines, draw_panels
from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.comparison.figures.study_data import NothingToDraw, RowData, StudyData, epochs_of
from mmtrain.tasks.measures import MEASURES

_OF_EPOCHS: Final = ("train_loss", "lr", "seconds", "scoring_seconds", "samples_per_s", "data_wait")
_BAND: Final = " Lines: mean over seeds; bands, where there are few lines: its standard deviation."


def draw(study: StudyData, request: FigureRequest) -> Drawing:
    """Draws one panel, or one for each modality that has the quantity."""
    quantity = str(request.options["quantity"])
    panels = _panels(quantity, study.with_runs(request))
    if not panels:
        raise NothingToDraw(
            f"no run has logged {quantity}; metrics.jsonl of its runs have "
            f"{', '.join(_names(study, request)) or 'nothing'}"
        )
    rows, left = chosen_lines(study, request, {label for panel in panels for label in panel.curves})
    title, where = _title(quantity)
    width = str(request.options.get("width", "column"))
    figure = draw_panels(panels, rows, study, width, AxisNames(y=title))
    return Drawing(figure, f"{title[:1].upper()}{title[1:]} {where} by epoch.{_BAND}{left}")


def _panels(quantity: str, rows: Sequence[RowData]) -> list[Panel]:
    """One panel with the quantity, or where none has it one for each modality."""
    panels = []
    for head in dict.fromkeys(["", *(m for row in rows for m in row.modalities)]):
        name = f"{quantity}.{head}" if head else quantity
        curves = {row.label: row.by_epoch(partial(value_of, name)) for row in rows}
        known = {label: curve for label, curve in curves.items() if curve is not None}
        if known:
            panels.append(Panel(head, known))
        if panels and not head:
            break  # The quantity itself is there; those by modality have names of their own.
    return panels


def value_of(name: str, line: Mapping[str, Any]) -> float | None:
    """A quantity of a line of metrics.jsonl, as it is drawn; None where the line has none.

    Args:
        name: Name of a field, of a measure of val (``accuracy``, or ``accuracy.audio`` for the
            logits of a modality), ``val_loss``, or of what the method logs.
        line: The line.
    """
    if name in _OF_EPOCHS:
        return line.get(name)
    val = line.get("val") or {}
    if name == "val_loss":
        return val.get("loss")
    measure, _, head = name.partition(".")
    if measure in MEASURES:
        value = (val["modalities"].get(head, {}) if val and head else val).get(measure)
        return None if value is None else MEASURES[measure].scale * value
    logged: float | None = line["logged"].get(name)
    return logged


def _title(quantity: str) -> tuple[str, str]:
    measure, _, head = quantity.partition(".")
    if measure in MEASURES:
        whose = f" of {head}'s own logits" if head else ""
        return f"{MEASURES[measure].title}{whose}{MEASURES[measure].unit}", "on val"
    names = {"train_loss": "training loss", "val_loss": "loss", "lr": "learning rate"}
    return names.get(quantity, quantity), "on val" if quantity == "val_loss" else "in training"


def _names(study: StudyData, request: FigureRequest) -> list[str]:
    """Quantities that some run has, those of modalities without their modality."""
    rows = study.with_runs(request)
    lines = [line for row in rows for run in row.runs.values() for line in epochs_of(run)[:1]]
    logged = (name.partition(".")[0] for line in lines for name in line["logged"])
    return list(dict.fromkeys(("train_loss", "lr", "accuracy", *logged)))
