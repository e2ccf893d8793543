"""The losses of a run and what its method logs: kept on the device, looked at together."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

import torch
from torch import Tensor

from mmtrain.training.metrics_log import Meter

# Looking at a loss makes the CPU wait until the GPU has computed it, and then the GPU until the CPU
# has launched more. Once in 16 steps costs nothing, and a loss that is no number is still found
# before much is lost. On the CPU the loss is there at once, so the very step can be named.
_UNSETTLED: Final = {"cpu": 1, "cuda": 16}


class NotFinite(NamedTuple):
    """A loss that is no number.

    Attributes:
        value: NaN or an infinity.
        step: Step of the run, from 0.
        ids: Samples of the step.
    """

    value: float
    step: int
    ids: Tensor | None


class Losses:
    """Takes losses and scalars as they come, and hands them to a meter later.

    Args:
        device: Device of the losses.
    """

    def __init__(self, device: torch.device) -> None:
        self._most = _UNSETTLED[device.type]
        self._waiting: list[tuple[Tensor, Tensor | None, int]] = []
        self._logged: list[tuple[str, float | Tensor]] = []

    @property
    def many(self) -> bool:
        """Whether it is time to settle."""
        return len(self._waiting) >= self._most

    def add(self, loss: Tensor, ids: Tensor | None, step: int) -> None:
        """Takes the loss of an update, a mean over the samples ``ids``."""
        self._waiting.append((loss.detach(), ids, step))

    def log(self, name: str, value: float | Tensor) -> None:
        """Takes a scalar that a method logs."""
        self._logged.append((name, value.detach() if isinstance(value, Tensor) else value))

    def settle(self, meter: Meter) -> Iterator[NotFinite]:
        """Counts all in ``meter``; yields the losses that are not finite."""
        waiting, self._waiting = self._waiting, []
        logged, self._logged = self._logged, []
        names = [name for name, _ in logged]
        values = read_scalars([*(loss for loss, _, _ in waiting), *(value for _, value in logged)])
        meter.log(zip(names, values[len(waiting) :], strict=True))
        for value, (_, ids, step) in zip(values[: len(waiting)], waiting, strict=True):
            if not math.isfinite(value):
                yield NotFinite(value, step, ids)
            elif ids is not None:
                meter.add_loss(value, len(ids))


def read_scalars(values: Sequence[float | Tensor]) -> list[float]:
    """Values of scalars; those of tensors come in one copy from each device, not in one each."""
    read = [0.0 if isinstance(value, Tensor) else float(value) for value in values]
    places: dict[torch.device, dict[torch.dtype, list[int]]] = {}
    scalars: dict[int, Tensor] = {}
    for place, value in enumerate(values):
        if isinstance(value, Tensor):
            scalars[place] = value if value.ndim == 0 else value.reshape(())
            places.setdefault(value.device, {}).setdefault(value.dtype, []).append(place)
    for by_type in places.values():
        # In float64, which holds float32, bfloat16 and counts alike without rounding.
        stacked = [torch.stack([scalars[i] for i in at]).double() for at in by_type.values()]
        numbers = torch.cat(stacked) if len(stacked) > 1 else stacked[0]
        for place, number in zip(chain(*by_type.values()), numbers.tolist(), strict=True):
            read[place] = number
    return read
