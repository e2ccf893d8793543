"""Who is told how far a run is."""

from collections.abc import Mapping
from typing import Any, Protocol


class Watch(Protocol):
    """Is told how far a run is."""

    def step(self, epoch: int, step: int, steps: int, said: Mapping[str, Any]) -> None:
        """A step is done; ``said`` is `Meter.line` so far."""

    def epoch(self, line: Mapping[str, Any]) -> None:
        """An epoch is done, with this line of metrics."""


class Quiet:
    """Tells nobody."""

    def step(self, epoch: int, step: int, steps: int, said: Mapping[str, Any]) -> None:
        """Nothing."""

    def epoch(self, line: Mapping[str, Any]) -> None:
        """Nothing."""
