"""HDF5 files from strangers: plain values of a stated type that lie in the file itself.

HDF5 can also name other files (links, virtual and external storage), hold addresses (strings of
variable length, references) and run filters. A file that does is refused before a value is read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from mmprep.errors import DataError
from mmprep.format.damage import naming_damage

_MIB: Final = 1 << 20


@contextmanager
def opened(path: Path, kind: str, remedy: str) -> Iterator[h5py.File]:
    """Opens ``path``, which must be a file: a pipe of that name would be waited for for ever.

    Args:
        path: Place of the file.
        kind: Noun for what it should be, such as ``an index``.
        remedy: Advice in the messages of errors.

    Raises:
        DataError: The file, or what the body reads of it, is no such file.
    """
    with naming_damage(str(path), remedy, f"not {kind} of this format"):
        if not path.is_file():
            raise DataError(f"{path}: not a file; {remedy}")
        with h5py.File(path, "r") as file:
            yield file


def map_table(path: Path, table: h5py.Dataset) -> NDArray[Any]:
    """Maps the values of a `plain_table` that is contiguous into memory; reads none of them.

    Raises:
        ValueError: The values end behind the file.
    """
    offset = table.id.get_offset()
    if offset is None or not table.size:
        return np.zeros(table.shape, table.dtype) if not table.size else np.asarray(table[...])
    if offset + table.size * table.dtype.itemsize > path.stat().st_size:
        raise ValueError(f"{table.name!r} ends behind the file")
    mapped = np.memmap(path, dtype=table.dtype, mode="r", offset=offset, shape=table.shape)
    # A plain array over the same memory: single rows come out of it ten times as fast.
    return mapped.view(np.ndarray)


def plain_table(
    file: h5py.File, name: str, dtype: str, rank: int, *, chunked: bool = False
) -> h5py.Dataset:
    """Returns the table ``name`` after checking that it is what its name stands for.

    Args:
        file: File that holds it.
        name: Name of the table.
        dtype: NumPy type of its values: exactly that, ``S`` for bytes of any fixed length, or
            ``number`` for any integers or real numbers.
        rank: Number of dimensions.
        chunked: Whether it may grow, that is, be stored in chunks.

    Raises:
        ValueError: It is no such table.
        KeyError: There is none of that name.
    """
    # Before it is opened: opening alone would follow a link, to a pipe or a file of the user.
    if file.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise ValueError(f"{name!r} is a link")
    table = file[name]
    if not isinstance(table, h5py.Dataset):
        raise ValueError(f"{name!r} is no table")
    stored = table.id.get_create_plist()
    layouts = {h5py.h5d.CONTIGUOUS, *([h5py.h5d.CHUNKED] if chunked else [])}
    if stored.get_layout() not in layouts or stored.get_external_count():
        raise ValueError(f"{name!r} is not stored plainly in the file")
    if stored.get_nfilters():
        raise ValueError(f"{name!r} is compressed")
    if not _has_type(table, dtype):
        raise ValueError(f"{name!r} has another type than {dtype}")
    # Asked for last: to know its shape, HDF5 opens the sources of a virtual table.
    if table.shape is None or len(table.shape) != rank:
        raise ValueError(f"{name!r} has the shape {table.shape}, not {rank} dimensions")
    return table


def read_table(path: Path, table: h5py.Dataset) -> NDArray[Any]:
    """Reads all values of a `plain_table`.

    Raises:
        ValueError: It claims more values than the file can hold.
    """
    # Chunks that were never written take no room in the file, but would in memory.
    if table.size * table.dtype.itemsize > 4 * path.stat().st_size + _MIB:
        raise ValueError(f"{table.name!r} claims more values than the file holds")
    return np.asarray(table[...])


def _has_type(table: h5py.Dataset, dtype: str) -> bool:
    stored = table.id.get_type()
    if dtype == "number":
        plain = isinstance(stored, (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID))
        return plain and bool(stored == h5py.h5t.py_create(table.dtype))
    if dtype != "S":
        return bool(stored == h5py.h5t.py_create(np.dtype(dtype)))
    # The length is looked at last: it is an error to ask a type for it that is no string.
    return (
        isinstance(stored, h5py.h5t.TypeStringID)
        and not stored.is_variable_str()
        and stored.get_strpad() == h5py.h5t.STR_NULLPAD
    )
