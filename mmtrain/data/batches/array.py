"""Headers of `.npy` files, read without unpickling anything."""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib import format as npy

from mmtrain.data.reading.local import Bytes
from mmtrain.errors import DataError


def array_header(data: Bytes) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Returns the offset of the values of an `.npy` file, their shape and their type.

    Raises:
        DataError: The bytes are no such file, or one of Python objects.
    """
    magic = data[:10].tobytes()
    if not magic.startswith(b"\x93NUMPY\x01\x00"):
        raise DataError("is no .npy file of version 1")
    return _parse_header(data[: 10 + int.from_bytes(magic[8:], "little")].tobytes())


@lru_cache(maxsize=64)
def _parse_header(header: bytes) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    file = io.BytesIO(header)
    try:
        npy.read_magic(file)
        shape, fortran, dtype = npy.read_array_header_1_0(file)
    except ValueError as error:
        raise DataError(f"is no .npy file ({error})") from error
    if dtype.hasobject or fortran:
        raise DataError(f"holds {dtype} {'in columns' if fortran else 'objects'}; refused")
    return len(header), shape, dtype
