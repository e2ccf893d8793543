"""Figures of the machine while it trains: share of the cores, memory, bytes that were read."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from mmtrain.training.device import CUDA, Cuda, peak_bytes
from mmtrain.training.metrics_log import Meter

_STATM: Final = Path("/proc/self/statm")


class Gauge:
    """Reads what this process uses, and adds it to a meter.

    Args:
        device: Device that computes.
        read_bytes: Number of bytes that the epoch has read so far.
        cuda: Calls of ``torch.cuda``.
    """

    def __init__(
        self, device: torch.device, read_bytes: Callable[[], int], cuda: Cuda = CUDA
    ) -> None:
        self._device, self._read_bytes, self._cuda = device, read_bytes, cuda
        self._cpu, self._read = time.process_time(), read_bytes()
        if device.type == "cuda":
            cuda.forget_peak(device)

    def add_to(self, meter: Meter) -> None:
        """Adds what was used since the last call, and the memory that is in use now."""
        cpu, read = time.process_time(), self._read_bytes()
        meter.cpu += cpu - self._cpu
        meter.read += read - self._read
        self._cpu, self._read = cpu, read
        meter.memory = max(meter.memory, resident_memory())
        if self._device.type == "cuda":
            meter.gpu_memory = max(meter.gpu_memory, peak_bytes(self._device, self._cuda))


def resident_memory() -> int:
    """Bytes of main memory that the process holds; the most it ever held, where no more is known.

    >>> resident_memory() > 1_000_000
    True
    """
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return peak_bytes(torch.device("cpu"))
