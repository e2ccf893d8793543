"""`index.h5`: one row for each sample, in shard order, so that any part is one range request away.

Columns lie uncompressed and contiguous in the file. They are memory-mapped, not read: opening the
index of a million samples takes milliseconds, and only the pages that are used take memory.
"""

import io
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from mmprep.errors import DataError
from mmprep.format.hdf5 import map_table, opened, plain_table
from mmprep.format.parts import PARTS, RECORD
from mmprep.format.tar import BLOCK, SampleEntry, member_names, padded_size

_TABLES: Final[Mapping[str, str]] = {
    "label": "<u2",
    "split": "u1",
    "shard": "<u4",
    "start": "<u8",
    "first": "<u8",
    "counts": "<u2",
    "size": "<u4",
    "crc": "<u4",
}
_CODES: Final = dict(zip(_TABLES, "HBIQQHII", strict=True))  # the same widths, for `array`
_RANKS: Final = {"counts": 2}  # every other table has one dimension
_NAMES: Final = ("classes", "splits", "shards", "parts")

# Advice for a damaged index. A copy lies wherever the data set came from.
REMEDY: Final = "run `mmprep verify`, and copy or build the data set again"
# Bytes of keys: names of files could lead elsewhere with any others.
_KEY_BYTES: Final = np.zeros(256, bool)
_KEY_BYTES[[0, *b"-_", *range(48, 58), *range(65, 91), *range(97, 123)]] = True
_LONGEST_KEY: Final = 80


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file of a sample.

    Attributes:
        name: Name of the tar member.
        offset: Byte of the shard at which its data begin.
        size: Number of bytes of its data.
        crc: CRC32C of its data.
    """

    name: str
    offset: int
    size: int
    crc: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Places of the members of several samples; ``n`` samples, ``c`` members, ``p`` parts.

    Attributes:
        row: (n, p) row, in the columns below, of the first member of each part of each sample.
        number: (c,) row of the member in the index.
        begin: (c,) byte of the shard at which its data begin.
        size: (c,) number of bytes of its data.
        crc: (c,) CRC32C of its data.
    """

    row: NDArray[np.int64]
    number: NDArray[np.int64]
    begin: NDArray[np.int64]
    size: NDArray[np.int64]
    crc: NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Index:
    """The columns of `index.h5`; ``n`` samples, ``m`` members in all, ``p`` parts.

    Attributes:
        classes: Class names, at which ``label`` points.
        splits: Split names, at which ``split`` points.
        shards: Paths of the shards relative to the data set, at which ``shard`` points.
        parts: Part names, the record ``json`` first.
        key: (n,) ASCII bytes.
        label: (n,) class id.
        split: (n,) split id.
        shard: (n,) shard id.
        start: (n,) byte of the shard at which the sample's first header begins.
        first: (n,) row of the sample's first member in ``size`` and ``crc``.
        counts: (n, p) number of members of each part.
        size: (m,) number of bytes of each member.
        crc: (m,) CRC32C of each member.
    """

    classes: tuple[str, ...]
    splits: tuple[str, ...]
    shards: tuple[str, ...]
    parts: tuple[str, ...]
    key: NDArray[np.bytes_]
    label: NDArray[np.uint16]
    split: NDArray[np.uint8]
    shard: NDArray[np.uint32]
    start: NDArray[np.uint64]
    first: NDArray[np.uint64]
    counts: NDArray[np.uint16]
    size: NDArray[np.uint32]
    crc: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.key)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Maps the index at ``path``.

        Raises:
            DataError: The file is no index, or its columns do not fit together.
        """
        with opened(path, "an index", REMEDY) as file:
            names: dict[str, Any] = {
                name: _read_names(plain_table(file, name, "S", 1), path) for name in _NAMES
            }
            columns: dict[str, Any] = {
                name: map_table(path, plain_table(file, name, dtype, _RANKS.get(name, 1)))
                for name, dtype in {"key": "S", **_TABLES}.items()
            }
        index = cls(**names, **columns)
        index._check(path)
        return index

    def find(self, key: str) -> int:
        """Row of the sample ``key``.

        Raises:
            DataError: There is no such sample.
        """
        rows = np.flatnonzero(self.key == key.encode())
        if not len(rows):
            raise DataError(f"no sample {key!r}; keys look like {', '.join(self.some_keys())}")
        return int(rows[0])

    def some_keys(self, count: int = 3) -> list[str]:
        """First few keys, for messages."""
        return [key.decode() for key in self.key[:count]]

    def members(self, row: int) -> dict[str, list[Member]]:
        """Members of each part of the sample in ``row``."""
        first, offset = int(self.first[row]), int(self.start[row])
        key = self.key[row].decode()
        members: dict[str, list[Member]] = {}
        for part, count in zip(self.parts, self.counts[row].tolist(), strict=True):
            members[part] = []
            for name in member_names(key, part, count):
                size = int(self.size[first])
                members[part].append(
                    Member(name=name, offset=offset + BLOCK, size=size, crc=int(self.crc[first]))
                )
                offset += BLOCK + padded_size(size)
                first += 1
        return members

    def layout(self, rows: NDArray[np.int64]) -> "Layout":
        """Places of all members of the samples in ``rows``."""
        counts = self.counts[rows].astype(np.int64)
        members = counts.sum(axis=1)
        ends = members.cumsum()
        begins = ends - members
        number = np.arange(members.sum()) + (self.first[rows].astype(np.int64) - begins).repeat(
            members
        )
        size = self.size[number].astype(np.int64)
        room = -(-size // BLOCK) * BLOCK
        behind = (room + BLOCK).cumsum()
        before = np.concatenate([[0], behind])[begins]
        origin = (self.start[rows].astype(np.int64) - before).repeat(members)
        return Layout(
            row=begins[:, None] + counts.cumsum(axis=1) - counts,
            number=number,
            begin=origin + behind - room,
            size=size,
            crc=self.crc[number],
        )

    def extent(self, row: int) -> tuple[int, int]:
        """First byte of the sample's first header, and the byte behind its last padding.

        The whole sample can be read, or copied to another shard, as this range.
        """
        first, start = int(self.first[row]), int(self.start[row])
        sizes = self.size[first : first + int(self.counts[row].sum())].astype(np.int64)
        return start, start + int((-(-sizes // BLOCK) * BLOCK + BLOCK).sum())

    def fits(self, row: int, sizes: Mapping[str, int]) -> bool:
        """Whether the sample in ``row`` lies inside its shard.

        Args:
            row: Row of the sample.
            sizes: Size of every shard by its path.
        """
        return self.extent(row)[1] <= sizes.get(self.shards[self.shard[row]], 0)

    def entry(self, row: int) -> SampleEntry:
        """Entry of the sample in ``row``, as `write_index` takes it."""
        first, counts = int(self.first[row]), self.counts[row].tolist()
        run = slice(first, first + sum(counts))
        return SampleEntry(
            key=self.key[row].decode(),
            start=int(self.start[row]),
            counts=tuple(counts),
            sizes=tuple(self.size[run].tolist()),
            crcs=tuple(self.crc[run].tolist()),
        )

    def _check(self, path: Path) -> None:
        n, m = len(self.key), len(self.size)
        self._check_keys(path)
        shapes = {
            name: len(getattr(self, name))
            for name in ("label", "split", "shard", "start", "first", "counts")
        }
        if wrong := [name for name, length in shapes.items() if length != n]:
            raise DataError(f"{path}: column {wrong[0]!r} has not the {n} rows of `key`")
        if strange := [part for part in self.parts if part not in {RECORD, *PARTS}]:
            raise DataError(f"{path}: no part {strange[0]!r} in this format; upgrade mmprep")
        if self.counts.shape[1:] != (len(self.parts),):
            raise DataError(f"{path}: column 'counts' has not the {len(self.parts)} parts")
        members = self.counts.sum(axis=1, dtype=np.uint64)
        ends = members.cumsum(dtype=np.uint64)
        if len(self.crc) != m or (n and int(ends[-1]) != m) or (ends - members != self.first).any():
            raise DataError(f"{path}: the members do not add up to {m}")
        for name, known in (
            ("label", self.classes),
            ("split", self.splits),
            ("shard", self.shards),
        ):
            if n and int(getattr(self, name).max()) >= len(known):
                raise DataError(f"{path}: column {name!r} points outside its {len(known)} names")

    def _check_keys(self, path: Path) -> None:
        width = self.key.dtype.itemsize
        letters = np.ascontiguousarray(self.key).view(np.uint8).reshape(len(self), width)
        used = letters != 0
        # Zeros fill a key up behind its end, and nowhere else.
        whole = used[:, :1].all() and not (used[:, 1:] & ~used[:, :-1]).any()
        if width > _LONGEST_KEY or not whole or not _KEY_BYTES[letters].all():
            raise DataError(f"{path}: holds a key that no sample may have; {REMEDY}")


def _read_names(table: h5py.Dataset, path: Path) -> tuple[str, ...]:
    return tuple(name.decode() for name in map_table(path, table).tolist())


def write_index(
    entries: Iterable[tuple[SampleEntry, int, int, int]],
    *,
    classes: Sequence[str],
    splits: Sequence[str],
    shards: Sequence[str],
    parts: Sequence[str],
) -> bytes:
    """Bytes of an index; the same input gives the same bytes.

    Args:
        entries: Tuples ``(entry, label, split, shard)``, in shard order.
        classes: Class names, at which ``label`` points.
        splits: Split names, at which ``split`` points.
        shards: Paths of the shards, at which ``shard`` points.
        parts: Part names, the record first, in the order of ``entry.counts``.
    """
    keys: list[str] = []
    # Arrays, not lists of rows: ten million samples have two hundred million members.
    flat = {name: array(code) for name, code in _CODES.items()}
    for entry, label, split, shard in entries:
        keys.append(entry.key)
        flat["first"].append(len(flat["size"]))
        for name, value in zip(
            ("label", "split", "shard", "start"), (label, split, shard, entry.start), strict=True
        ):
            flat[name].append(value)
        for name, values in zip(
            ("counts", "size", "crc"), (entry.counts, entry.sizes, entry.crcs), strict=True
        ):
            flat[name].extend(values)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v110"), track_order=False) as file:
        for name, strings in zip(_NAMES, (classes, splits, shards, parts), strict=True):
            file.create_dataset(name, data=_ascii(strings), track_times=False)
        file.create_dataset("key", data=_ascii(keys), track_times=False)
        for name, column in flat.items():
            table = np.array(column, _TABLES[name])
            if name == "counts":
                table = table.reshape(len(keys), len(parts))
            file.create_dataset(name, data=table, track_times=False)
    return buffer.getvalue()


def _ascii(values: Sequence[str]) -> NDArray[np.bytes_]:
    encoded = [value.encode() for value in values]
    return np.array(encoded, f"S{max(map(len, encoded), default=1) or 1}")
