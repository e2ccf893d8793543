"""The rows of a task's logits, for methods whose predictions weigh them outside of a step."""

from collections.abc import Callable
from dataclasses import field
from typing import Any, TypeAlias

from torch import Tensor

Decisions: TypeAlias = Callable[[Tensor], Tensor]


def rows_of_task() -> Any:
    """Makes a field for `Task.decisions`, which `setup` sets; before, a sample is one row."""
    return field(init=False, repr=False, default_factory=lambda: _one_row)


def _one_row(logits: Tensor) -> Tensor:
    return logits
