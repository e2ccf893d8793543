"""Figures of a trial: epochs that do not count."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Trial:
    """Lines of a trial's epochs, see `mmtrain.methods.base.Run.trial`.

    Attributes:
        lines: A line of the metrics for each epoch.
    """

    lines: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def train_loss(self) -> float:
        """Mean training loss of the last epoch.

        Raises:
            RuntimeError: No epoch was trained yet.
        """
        if not self.lines:
            raise RuntimeError("the trial has not trained an epoch yet")
        loss: float = self.lines[-1]["train_loss"]
        return loss

    def measured(self, split: str = "val") -> dict[str, Any] | None:
        """Measures after the last epoch; None before it, or without such a split."""
        measures: dict[str, Any] | None = self.lines[-1].get(split) if self.lines else None
        return measures
