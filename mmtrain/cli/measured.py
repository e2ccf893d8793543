"""Texts of measures, as commands print them."""

from collections.abc import Mapping
from typing import Any

from mmtrain.tasks.measures import MEASURES, shown


def main_measure(measured: Mapping[str, Any]) -> str:
    """The task's first measure of the fused logits and, in brackets, of each modality's own.

    Args:
        measured: Measures of a split, as in result.json.
    """
    name = shown(measured)[0]
    own = ", ".join(f"{m} {_number(each[name])}" for m, each in measured["modalities"].items())
    return f"{MEASURES[name].title} {_number(measured[name])} ({own})"


def other_measures(measured: Mapping[str, Any]) -> list[str]:
    """Title and value of each measure of the fused logits but the first."""
    return [f"{MEASURES[name].title} {_number(measured[name])}" for name in shown(measured)[1:]]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
