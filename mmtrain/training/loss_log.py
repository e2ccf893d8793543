"""The losses of a run and what its method logs: kept on the device, looked at together."""

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import torch
from torch import Tensor

from mmtrain.training.metrics_log import Meter

# So that a GPU need not wait for each.
_UNSETTLED: Final = {"cpu": 1, "cuda": 16}


class NotFinite(NamedTuple):
    """A loss that is no number.

    Attributes:
        value: It.
        step: Of the run, from 0.
        ids: Its samples.
    """

    value: float
    step: int
    ids: Tensor | None


class Losses:
    """Takes losses and scalars as they come, and hands them to a meter later.

    Args:
        device: Where they are.
    """

    def __init__(self, device: torch.device) -> None:
        self._most = _UNSETTLED[device.type]
        self._waiting: list[tuple[Tensor, Tensor | None, int]] = []
        self._told: list[tuple[str, float | Tensor]] = []

    @property
    def many(self) -> bool:
        """Whether it is time to settle."""
        return len(self._waiting) >= self._most

    def add(self, loss: Tensor, ids: Tensor | None, step: int) -> None:
        """Takes the loss of an update, a mean over the samples ``ids``."""
        self._waiting.append((loss.detach(), ids, step))

    def tell(self, name: str, value: float | Tensor) -> None:
        """Takes what a method logs."""
        self._told.append((name, value.detach() if isinstance(value, Tensor) else value))

    def settle(self, meter: Meter) -> Iterator[NotFinite]:
        """Counts all in ``meter``; gives the losses that are not finite."""
        meter.log((name, float(value)) for name, value in self._told)
        self._told.clear()
        waiting, self._waiting = self._waiting, []
        values = torch.stack([loss for loss, _, _ in waiting]).tolist() if waiting else []
        for value, (_, ids, step) in zip(values, waiting, strict=True):
            if not math.isfinite(value):
                yield NotFinite(value, step, ids)
            elif ids is not None:
                meter.add_loss(value, len(ids))
