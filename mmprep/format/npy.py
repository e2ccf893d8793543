"""`.npy` files that somebody else may have written: read without unpickling or trusting a size."""

import io
import math
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_MAGIC: Final = b"\x93NUMPY\x01\x00"
PREFIX: Final = len(_MAGIC) + 2  # in front of the header's text, whose length ends it


def header_size(prefix: bytes) -> int:
    """Bytes in front of the values, from the first `PREFIX` bytes of a file.

    Raises:
        ValueError: The bytes are no such file.
    """
    if len(prefix) < PREFIX or not prefix.startswith(_MAGIC):
        raise ValueError("no .npy file of version 1")
    return PREFIX + int.from_bytes(prefix[len(_MAGIC) : PREFIX], "little")


@lru_cache(maxsize=64)
def parse_header(header: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the values behind ``header``, all bytes in front of the values.

    Raises:
        ValueError: The bytes are no header, or one of objects, of columns or of a negative shape.
    """
    file = io.BytesIO(header)
    try:
        npy.read_magic(file)
        shape, fortran, dtype = npy.read_array_header_1_0(file)
    # The header is Python text; its parser raises SyntaxError, TokenError, RecursionError, ...
    except Exception as error:
        raise ValueError(f"no .npy file ({str(error)[:100] or type(error).__name__})") from error
    if dtype.hasobject or fortran:
        raise ValueError(f"holds {dtype} {'in columns' if fortran else 'objects'}; refused")
    if any(type(n) is not int or n < 0 for n in shape) or not dtype.itemsize:
        raise ValueError(f"has the shape {shape} of {dtype}")
    return shape, dtype


def parse_array(data: bytes, *, more: bool = False) -> NDArray[Any]:
    """Values of a file, in its own memory.

    Args:
        data: Bytes of the file.
        more: Whether bytes may follow the values.

    Raises:
        ValueError: The bytes are no such file, or fewer or more than its shape takes.
    """
    begin = header_size(data[:PREFIX])
    shape, dtype = parse_header(data[:begin])
    count = math.prod(shape)
    there = len(data) - begin
    if there < count * dtype.itemsize or (there > count * dtype.itemsize and not more):
        raise ValueError(f"has not the bytes that its shape {shape} takes")
    return np.frombuffer(data, dtype, count, begin).reshape(shape)
