"""Batches on the device: on CUDA the next one is copied while the current one is computed."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mmtrain.training.device import CUDA, Cuda, Event, copy_batch
from mmtrain.training.feed import Reading
from mmtrain.types import Batch


class Fetched(NamedTuple):
    """A batch at the moment at which it is trained on.

    Attributes:
        reading: Batch in memory of the CPU, and its place in the epoch.
        here: The same batch on the device.
    """

    reading: Reading
    here: Batch


class Prefetcher(Protocol):
    """Gives batches on the device, and counts the seconds that training waited for them."""

    def over(self, readings: Iterable[Reading]) -> Iterator[Fetched]:
        """Yields each batch on the device, in order."""

    def waited(self) -> float:
        """Seconds of waiting for data since the last call, as far as they are known by now."""


def prefetcher(device: torch.device) -> Prefetcher:
    """Makes the prefetcher that suits a device."""
    return CopyAhead(device) if device.type == "cuda" else PassThrough(device)


class PassThrough:
    """Copies nothing ahead: the CPU computes where the batches are.

    Args:
        device: Device of the batches.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._waited = device, 0.0

    def over(self, readings: Iterable[Reading]) -> Iterator[Fetched]:
        """Yields each batch on the device, in order."""
        before = time.monotonic()
        for reading in readings:
            self._waited += time.monotonic() - before
            yield Fetched(reading, copy_batch(reading.batch, self._device))
            before = time.monotonic()

    def waited(self) -> float:
        """Seconds in which there was no batch to compute on."""
        waited, self._waited = self._waited, 0.0
        return waited


class _Copied(NamedTuple):
    """A batch whose copy is under way, and the end of that copy."""

    fetched: Fetched
    done: Event


class _Gap(NamedTuple):
    """The time between two steps, on the device and on the CPU."""

    end: Event
    begin: Event
    asked_s: float


class CopyAhead:
    """Copies one batch ahead, on a stream of its own.

    Args:
        device: CUDA device, or any other together with a fake of ``cuda``.
        cuda: Calls of ``torch.cuda``.
    """

    def __init__(self, device: torch.device, cuda: Cuda = CUDA) -> None:
        self._device, self._cuda = device, cuda
        self._stream = cuda.stream(device)
        self._gaps: deque[_Gap] = deque()

    def over(self, readings: Iterable[Reading]) -> Iterator[Fetched]:
        """Yields each batch on the device, in order."""
        source, end = iter(readings), self._mark()
        ahead, asked_s = self._next(source)
        while ahead is not None:
            current = ahead
            ahead, more_s = self._next(source)
            self._hand_over(current)
            self._gaps.append(_Gap(end, self._mark(), asked_s + more_s))
            yield current.fetched
            # Behind all that the step has launched: when the device gets here it is idle.
            end, asked_s = self._mark(), 0.0

    def waited(self) -> float:
        """Seconds in which the device was idle because there was no batch.

        The CPU launches steps ahead of the device, so a CPU that waits for data does not mean that
        the device does. The device's gap between two steps counts, and of it no more than the CPU
        has waited: the rest is checkpoints and the like. Gaps that the device has not come to yet
        count in a later call.
        """
        total = 0.0
        while self._gaps and self._gaps[0].begin.query():
            gap = self._gaps.popleft()
            total += min(gap.end.elapsed_time(gap.begin) / 1e3, gap.asked_s)
        return total

    def _next(self, source: Iterator[Reading]) -> tuple[_Copied | None, float]:
        """The next batch, its copy under way, and the seconds that the CPU waited for it."""
        before = time.monotonic()
        reading = next(source, None)
        asked_s = time.monotonic() - before
        if reading is None:
            return None, asked_s
        with self._cuda.using(self._stream):
            fetched = Fetched(reading, copy_batch(reading.batch, self._device))
            return _Copied(fetched, self._mark()), asked_s

    def _hand_over(self, copied: _Copied) -> None:
        """Lets the computing stream use a batch that the other stream has copied."""
        computing = self._cuda.current_stream(self._device)
        # For this copy only: the one behind it may still be under way.
        computing.wait_event(copied.done)
        for tensor in _tensors(copied.fetched.here):
            # Or its memory would be given to the next copy while a step still reads it.
            self._cuda.keep(tensor, computing)

    def _mark(self) -> Event:
        event = self._cuda.event()
        event.record()
        return event


def _tensors(batch: Batch) -> Iterator[Tensor]:
    yield from (batch.ids, batch.target, batch.filler)
    yield from batch.inputs.values()
    yield from batch.shown.values()
