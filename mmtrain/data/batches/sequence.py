"""Feature sequences: (T, D) arrays of any length to rows of equal length with a mask."""

import math
from contextlib import closing
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.data.batches.array import array_header, matrix_shape
from mmtrain.data.batches.decode import Decoder, PartSource
from mmtrain.data.batches.view import Draws
from mmtrain.data.reading.local import Bytes
from mmtrain.errors import DataError


class SequenceDecoder:
    """Sequences: (B, T, D + 1) float32, whose last channel is 1 at real steps and 0 behind them.

    The mask is a channel, so that whatever hides or selects samples takes it along. Longer
    sequences are cut. NaN and infinities become 0.

    Args:
        part: Part of the shards.
        features: ``D``, the number of features of a step.
        steps: ``T``, the number of steps of a row.
    """

    dtype = torch.float32
    blank = 0

    def __init__(self, part: str, features: int, steps: int) -> None:
        self.part, self._features = part, features
        self.shape: tuple[int, ...] = (steps, features + 1)

    def members(self, count: int, draws: Draws) -> list[int]:
        """Chooses the only member.

        Raises:
            DataError: There is none.
        """
        if not count:
            raise DataError(f"has no {self.part}")
        return [0]

    def destination(self, row: NDArray[Any], size: int) -> Bytes | None:
        """Returns None: the steps of a row are longer than those of a member."""
        return None

    def decode(self, data: Bytes, draws: Draws, row: NDArray[Any], place: int) -> None:
        """Copies the steps of an array, then writes padding."""
        begin, shape, dtype = array_header(data)
        if len(shape) != 2 or shape[1] != self._features:
            raise DataError(f"has shape {shape} where the others have (steps, {self._features})")
        if not np.can_cast(dtype, row.dtype, "same_kind"):
            raise DataError(f"holds {dtype}, not real numbers")
        if len(data) - begin != math.prod(shape) * dtype.itemsize:
            raise DataError(f"has not the bytes that its shape {shape} takes")
        count = min(shape[0], len(row))
        values = data[begin:].view(dtype).reshape(shape)[:count]
        with np.errstate(over="ignore"):  # Too large for float32 is infinite, and so 0 as well.
            own = values.astype(row.dtype)
        row[:count, :-1] = np.nan_to_num(own, copy=False, nan=0, posinf=0, neginf=0)
        row[:count, -1] = 1
        row[count:] = 0

    def tensor(self, rows: Tensor) -> Tensor:
        """Returns the rows unchanged."""
        return rows


def sequence_decoder(source: PartSource) -> Decoder:
    """Makes the decoder of sequences; their width is that of the first undamaged example.

    Raises:
        DataError: No example has two dimensions.
    """
    with closing(source.examples()) as examples:
        shape = matrix_shape(examples)
    if shape is not None:
        return SequenceDecoder(source.part, shape[1], source.view.steps)
    raise DataError(f"{source.place}: no {source.part} of steps by features; run `mmprep verify`")
