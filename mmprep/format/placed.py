"""An index that names the place of every member: for tars that other tools wrote.

Places in our own shards follow from sizes, since a member lies right behind the one before it.
Other tools put extended headers and files of their own between them. Such an index has one more
column, ``begin``: (m,) byte of the shard at which each member's data begin.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

import h5py
import numpy as np
from numpy.typing import NDArray

from mmprep.errors import DataError
from mmprep.format.hdf5 import map_table, opened, plain_table
from mmprep.format.index import Index, Layout, Member
from mmprep.format.tar import BLOCK, padded_size

_BEGIN: Final = "begin"
_DTYPE: Final = "<u8"
_REMEDY: Final = "copy the data set again, or run `mmprep index` in a new folder"


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedIndex(Index):
    """The columns of an index with the place of each member.

    Attributes:
        begin: (m,) byte of the shard at which each member's data begin.
    """

    begin: NDArray[np.uint64]

    def members(self, row: int) -> dict[str, list[Member]]:
        """Members of each part of the sample in ``row``; their names are those of our format."""
        begins = iter(self._begins(row))
        return {
            part: [replace(member, offset=int(next(begins))) for member in members]
            for part, members in super().members(row).items()
        }

    def layout(self, rows: NDArray[np.int64]) -> Layout:
        """Places of all members of the samples in ``rows``."""
        layout = super().layout(rows)
        return replace(layout, begin=self.begin[layout.number].astype(np.int64))

    def extent(self, row: int) -> tuple[int, int]:
        """Byte of the header in front of the first member, and the one behind the last padding."""
        begins = self._begins(row)
        first = int(self.first[row])
        return int(begins[0]) - BLOCK, int(begins[-1]) + padded_size(
            int(self.size[first + len(begins) - 1])
        )

    def _begins(self, row: int) -> NDArray[np.uint64]:
        first = int(self.first[row])
        return self.begin[first : first + int(self.counts[row].sum())]


def open_placed(path: Path) -> Index:
    """Maps the index at ``path``, with the places of the members if it has them.

    Raises:
        DataError: The file is no index, or its columns do not fit together.
    """
    index = Index.open(path)
    with opened(path, "an index", _REMEDY) as file:
        if _BEGIN not in file:
            return index
        begin = map_table(path, plain_table(file, _BEGIN, _DTYPE, 1))
    # A reader takes the members of a sample in the order of their bytes.
    inside = np.ones(len(begin), bool)
    inside[index.first.astype(np.int64)] = False
    if len(begin) != len(index.size) or not (index.counts.sum(axis=1) > 0).all():
        raise DataError(f"{path}: column {_BEGIN!r} does not fit the members; {_REMEDY}")
    ends = begin[:-1] + index.size[:-1].astype(np.uint64)
    if (begin < BLOCK).any() or (begin[1:] < ends)[inside[1:]].any():
        raise DataError(f"{path}: column {_BEGIN!r} is out of order; {_REMEDY}")
    columns = {field.name: getattr(index, field.name) for field in fields(index)}
    return PlacedIndex(**columns, begin=begin)


def with_places(index: bytes, begins: Sequence[int]) -> bytes:
    """Bytes of an index with the places of its members.

    Args:
        index: Bytes that `write_index` returned.
        begins: Byte of its shard at which each member's data begin, in the order of the index.
    """
    buffer = io.BytesIO(index)
    with h5py.File(buffer, "r+", libver=("v110", "v110")) as file:
        file.create_dataset(_BEGIN, data=np.array(begins, _DTYPE), track_times=False)
    return buffer.getvalue()
