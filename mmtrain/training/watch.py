"""The protocol of whoever follows the progress of a run."""

from collections.abc import Mapping
from typing import Any, Protocol


class Watch(Protocol):
    """Follows the progress of a run."""

    def step(self, epoch: int, step: int, steps: int, measures: Mapping[str, Any], /) -> None:
        """Takes note that a step is done; ``measures`` is `Meter.line` so far."""

    def epoch(self, line: Mapping[str, Any], /) -> None:
        """Takes note that an epoch is done, with its line of metrics."""


class Quiet:
    """Ignores progress."""

    def step(self, epoch: int, step: int, steps: int, measures: Mapping[str, Any], /) -> None:
        """Does nothing."""

    def epoch(self, line: Mapping[str, Any], /) -> None:
        """Does nothing."""
