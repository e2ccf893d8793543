"""Headers of `.npy` files, read without unpickling anything."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from mmprep.format.npy import PREFIX, header_size, parse_header
from mmtrain.data.reading.local import Bytes
from mmtrain.errors import DataError


def array_header(data: Bytes) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Returns the offset of the values of an `.npy` file, their shape and their type.

    Raises:
        DataError: The bytes are no such file, or one of Python objects.
    """
    try:
        begin = header_size(data[:PREFIX].tobytes())
        return begin, *parse_header(data[:begin].tobytes())
    except ValueError as error:
        raise DataError(f"is no .npy array ({error})") from error


def matrix_shape(examples: Iterable[Bytes]) -> tuple[int, int] | None:
    """Shape of the first undamaged `.npy` file of two dimensions; None if there is none."""
    for data in examples:
        try:
            begin, shape, dtype = array_header(data)
        except DataError:
            continue
        # A header may claim any shape; a batch takes memory for those whose values are there.
        if len(shape) == 2 and len(data) - begin == math.prod(shape) * dtype.itemsize > 0:
            return shape[0], shape[1]
    return None
