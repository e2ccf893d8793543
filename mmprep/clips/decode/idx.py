"""Reads MNIST's idx files, plain or gzipped: a header, then one byte for each pixel or label.

The header is a run of big-endian four-byte integers: a magic number (2051 for images, 2049 for
labels), the count and, for images, rows and columns.
"""

import gzip
import math
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from mmprep.errors import DataError

MAGIC: Final = {2051: "images", 2049: "labels"}
_GZIP: Final = b"\x1f\x8b"

Bytes = npt.NDArray[np.uint8]


def images(path: Path) -> Bytes:
    """All images of the file, (N, rows, cols), read-only.

    Raises:
        DataError: The file is damaged or holds something else.
    """
    return _read(path, "images")


def labels(path: Path) -> Bytes:
    """All labels of the file, (N,), read-only.

    Raises:
        DataError: The file is damaged or holds something else.
    """
    return _read(path, "labels")


def image(path: Path, number: int) -> Bytes:
    """Image ``number`` of the file, counted from 0: (rows, cols), read-only.

    The files last used stay in memory, so that going through a file unzips it once.

    Raises:
        DataError: The file is damaged, holds something else or has no such image.
    """
    stat = path.stat()
    pictures = _cached_images(path, stat.st_mtime_ns, stat.st_size)
    if not 0 <= number < len(pictures):
        raise DataError(
            f"{path}: no image {number}, the file has {len(pictures)} (0 is the first); "
            "correct the number in the manifest"
        )
    picture: Bytes = pictures[number]
    return picture


@lru_cache(maxsize=2)  # a data set has two: train and test
def _cached_images(path: Path, mtime_ns: int, size: int) -> Bytes:
    # Time and size are part of the cache's key, so that a file that was replaced is read again.
    return images(path)


def _read(path: Path, kind: str) -> Bytes:
    content = _unpack(path)
    magic = int.from_bytes(content[:4], "big")
    if MAGIC.get(magic) != kind:
        raise DataError(_wrong_magic(path, kind, magic))
    header = 16 if kind == "images" else 8
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4))
    body = len(content) - header
    if body != math.prod(shape):
        raise DataError(
            f"{path}: the header promises {' x '.join(map(str, shape))} bytes of {kind}, "
            f"the file has {max(body, 0)}; download it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _unpack(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.startswith(_GZIP):  # by content: copies of MNIST go by many names
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: a damaged gzip file ({error}); download it again") from error


def _wrong_magic(path: Path, kind: str, magic: int) -> str:
    if other := MAGIC.get(magic):
        return f"{path}: holds {other}, not {kind}; give the idx file of the {kind}"
    return f"{path}: not an idx file of {kind} (its magic number is {magic}); download it again"
