"""Arrays of `.npy` and `.npz` files, and of pickles, by the names under which they stand there.

A name is a path: ``valid/audio/17`` is the entry ``valid`` of a table, then its entry ``audio``,
then row 17 of that. Nothing is unpickled by Python, and no size that a file claims is trusted.
"""

import errno
import io
import math
import zipfile
from collections.abc import Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mmprep.clips.decode import pickled
from mmprep.clips.decode.bounds import MAX_ARRAY_BYTES
from mmprep.errors import DataError

_SHOWN: Final = 3


class ArrayFile(Protocol):
    """A file of arrays that stays open."""

    def read(self, name: str, span: tuple[float, float] | None) -> Any:
        """Value under ``name``.

        Args:
            name: Name behind the ``#`` of a source; empty for the whole file.
            span: Seconds to which files with times are cut.

        Raises:
            ValueError: There is no such name, or the file is damaged.
        """


class TreeFile:
    """A value in memory, of a pickle or an `.npy` file, with tables and lists inside it.

    Args:
        value: The value.
    """

    def __init__(self, value: Any) -> None:
        self._value = value

    def read(self, name: str, span: tuple[float, float] | None) -> Any:
        """Value under ``name``; ``span`` is not used, as the file has no times."""
        return _walk(self._value, name.split("/") if name else [])


class ZipFile:
    """An `.npz` file: a zip of `.npy` files.

    Args:
        path: Place of the file.
    """

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        # The last one, because rows of one array follow each other.
        self._last: tuple[str, NDArray[Any]] | None = None

    def read(self, name: str, span: tuple[float, float] | None) -> Any:
        """Value under ``name``; ``span`` is not used, as the file has no times."""
        members = set(self._zip.namelist())
        steps = name.split("/")
        for used in range(len(steps), 0, -1):
            member = f"{'/'.join(steps[:used])}.npy"
            if member in members:
                return _walk(self._array(member), steps[used:])
        names = sorted(member.removesuffix(".npy") for member in members)
        raise ValueError(f"no array {name!r:.100}; the file has {_some(names)}")

    def _array(self, member: str) -> NDArray[Any]:
        if self._last is None or self._last[0] != member:
            info = self._zip.getinfo(member)
            if info.file_size > MAX_ARRAY_BYTES:
                raise ValueError(f"{member} takes {info.file_size:,} bytes; {_bound()}")
            self._last = member, parse_npy(self._content(info))
        return self._last[1]

    def _content(self, info: zipfile.ZipInfo) -> bytes:
        try:
            with self._zip.open(info) as file:
                # The size is the file's claim, which zipfile does not enforce.
                return file.read(MAX_ARRAY_BYTES + 1)
        except OSError as error:
            # The file's claim of where it lies is in front of its beginning.
            if error.errno != errno.EINVAL:
                raise
            raise ValueError(f"{info.filename} lies outside the file") from error


def open_npy(path: Path) -> TreeFile:
    """Maps an `.npy` file.

    Raises:
        ValueError: It is none, or one of objects.
    """
    with path.open("rb") as file:
        return TreeFile(parse_npy(memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))))


def open_pickle(path: Path) -> TreeFile:
    """Reads a pickle, see `mmprep.clips.decode.pickled`.

    Raises:
        ValueError: It holds something else than arrays and plain values.
    """
    try:
        return TreeFile(pickled.load(path))
    except DataError as error:
        raise ValueError(str(error).removeprefix(f"{path}: ")) from error


def parse_npy(data: "bytes | memoryview") -> NDArray[Any]:
    """Array of the bytes of an `.npy` file, as a view of them.

    Raises:
        ValueError: The bytes are none, hold objects, or are fewer than its shape takes.
    """
    file = io.BytesIO(data[: 1 << 16])
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in readers:
        raise ValueError(f"an .npy file of version {version}; save it again with numpy.save")
    try:
        shape, columns, dtype = readers[version](file)
    # The header is Python text; its parser raises SyntaxError, TokenError, RecursionError, ...
    except Exception as error:
        raise ValueError(f"no .npy file ({str(error)[:100] or type(error).__name__})") from error
    if dtype.hasobject or dtype.names is not None or not dtype.itemsize:
        raise ValueError(f"an array of {dtype!s:.40}; numbers are read")
    if any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"an array of the shape {shape!r:.60}")
    count, begin = math.prod(shape), file.tell()
    if len(data) < begin + count * dtype.itemsize:
        raise ValueError(f"the file ends before the values that its shape {shape!r:.60} takes")
    if not count:
        return np.zeros(shape, dtype)
    return np.frombuffer(data, dtype, count, begin).reshape(shape, order="F" if columns else "C")


def _walk(value: Any, steps: Sequence[str]) -> Any:
    for i, step in enumerate(steps):
        place = "/".join(steps[:i]) or "the file"
        if isinstance(value, dict):
            value = _entry(value, step, place)
        elif isinstance(value, (list, tuple, np.ndarray)) and np.ndim(value) != 0:
            if not step.isascii() or not step.isdecimal() or int(step) >= len(value):
                raise ValueError(f"no row {step!r:.40} of {place}, which has {len(value):,}")
            value = value[int(step)]
        else:
            raise ValueError(f"{place} is a {type(value).__name__} without {step!r:.40}")
    return value


def _entry(table: dict[Any, Any], step: str, place: str) -> Any:
    # Python 2 wrote bytes, and numbers are keys too.
    for key in (step, step.encode(), int(step) if step.isascii() and step.isdecimal() else step):
        if key in table:
            return table[key]
    raise ValueError(f"no {step!r:.100} in {place}, which has {_some(list(map(str, table)))}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return (", ".join(name[:60] for name in names[:_SHOWN]) or "none") + more


def _bound() -> str:
    return f"up to {MAX_ARRAY_BYTES:,} are read"
