"""Memory of batches, which is used again when nobody holds the batch any more."""

import math
from collections import deque
from typing import Any, Final, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from mmtrain.data.reading.options import StreamOptions

# Batches beside those made ahead: the one in use, and one on its way to a device.
_IN_USE: Final = 2
_DEFAULTS: Final = StreamOptions()


class BatchMemory:
    """Memory of the batches of one stream, from epoch to epoch; threads may share it.

    A system clears fresh memory page by page when it is first written, which for large batches
    takes as long as decoding. Memory of a batch that was dropped has been cleared already.

    Args:
        options: Number of batches that are made ahead, and whether their memory is page-locked, so
            that a GPU copies from it without waiting.
    """

    def __init__(self, options: StreamOptions = _DEFAULTS) -> None:
        self._options = options
        self._free: dict[int, deque[Tensor]] = {}

    def __reduce__(self) -> tuple[type[Self], tuple[StreamOptions]]:
        # Another process has use for the rules, not for the bytes.
        return type(self), (self._options,)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Returns a tensor whose values are undefined, as `torch.empty` does."""
        size = math.prod(shape) * dtype.itemsize
        # A worker process has no context on the GPU, and must not make one.
        if self._options.pin and get_worker_info() is None:
            # torch itself uses page-locked memory again.
            return torch.empty(shape, dtype=dtype, pin_memory=True)
        free = self._free.setdefault(size, deque(maxlen=self._options.ahead + _IN_USE))
        try:
            memory = free.pop()  # The one that the cache of the processor knows best.
        except IndexError:
            memory = torch.empty(size, dtype=torch.uint8)
        return torch.from_numpy(np.asarray(_Lease(memory, free, shape, dtype)))


class _Lease:
    """Gives ``memory`` back to ``free`` when the last array or tensor that shows it is gone.

    An array of this object holds it, and so does every view of that array: NumPy passes over
    arrays to the one that owns the memory, but not over other objects.
    """

    def __init__(
        self, memory: Tensor, free: deque[Tensor], shape: tuple[int, ...], dtype: torch.dtype
    ) -> None:
        self._memory, self._free = memory, free
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "shape": shape,
            "typestr": torch.empty(0, dtype=dtype).numpy().dtype.str,
            "data": (memory.data_ptr(), False),
        }

    def __del__(self) -> None:
        self._free.append(self._memory)
