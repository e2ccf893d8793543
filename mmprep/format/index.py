"""`index.h5`: one row for each sample, in shard order, so that any part is one range request away.

Columns lie uncompressed and contiguous in the file. They are memory-mapped, not read: opening the
index of a million samples takes milliseconds, and only the pages that are used take memory.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from mmprep.errors import DataError
from mmprep.format.answer import QUESTION, Answer, row_key, split_key
from mmprep.format.columns import ADDED, ADDED_NAMES, NAMES, RANKS, TABLES, Columns
from mmprep.format.hdf5 import map_table, opened, plain_table
from mmprep.format.index_checks import REMEDY, check_columns
from mmprep.format.tar import BLOCK, SampleEntry, member_names, padded_size


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

    Questions of the same clip that belong to other samples are among the members.

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


class Index(Columns):
    """The rows of `index.h5`."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Maps the index at ``path``.

        Raises:
            DataError: The file is no index, or its columns do not fit together.
        """
        with opened(path, "an index", REMEDY) as file:
            tables = {"key": "S", **TABLES}
            names = list(NAMES)
            present = set(file)
            for addition, of_addition in ADDED.items():
                if present & of_addition.keys():
                    tables |= of_addition
                    names += [ADDED_NAMES[addition]] if addition in ADDED_NAMES else []
            columns: dict[str, Any] = {
                name: _read_names(plain_table(file, name, "S", 1), path) for name in names
            } | {
                name: map_table(path, plain_table(file, name, dtype, RANKS.get(name, 1)))
                for name, dtype in tables.items()
            }
        index = cls(**columns)
        check_columns(index, path)
        return index

    def find(self, key: str) -> int:
        """Row of the sample ``key``; of a clip with questions, that of the first.

        Raises:
            DataError: There is no such sample.
        """
        rows = np.flatnonzero(self.key == key.encode())
        if not len(rows) and self.questions is not None:
            begins = np.char.startswith(self.key, row_key(key, "").encode())
            rows = np.flatnonzero(begins & (self.questions > 0))
            rows = rows[[self.clip_key(int(row)) == key for row in rows]]
        if not len(rows):
            raise DataError(f"no sample {key!r}; keys look like {', '.join(self.some_keys())}")
        return int(rows[0])

    def some_keys(self, count: int = 3) -> list[str]:
        """First few keys, for messages."""
        return [key.decode() for key in self.key[:count]]

    def clip_key(self, row: int) -> str:
        """Key of the clip of the sample in ``row``, which the names of its members begin with."""
        key = self.key[row].decode()
        return split_key(key)[0] if self._has_questions(row) else key

    def members(self, row: int) -> dict[str, list[Member]]:
        """Members of each part of the sample in ``row``; of the questions only its own."""
        members = self.clip_members(row)
        if self.question is not None and self._has_questions(row) and QUESTION in members:
            members[QUESTION] = [members[QUESTION][int(self.question[row])]]
        return members

    def clip_members(self, row: int) -> dict[str, list[Member]]:
        """Members of each part of the clip of the sample in ``row``, all questions included."""
        first, offset = int(self.first[row]), int(self.start[row])
        key, numbered = self.clip_key(row), self._has_questions(row)
        members: dict[str, list[Member]] = {}
        counts = self.clip_counts(np.array([row]))[0].tolist()
        for part, count in zip(self.parts, counts, strict=True):
            members[part] = []
            for name in member_names(key, part, count, questions=numbered):
                size = int(self.size[first])
                members[part].append(
                    Member(name=name, offset=offset + BLOCK, size=size, crc=int(self.crc[first]))
                )
                offset += BLOCK + padded_size(size)
                first += 1
        return members

    def runs(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(r, p) rows of the first member of each part of ``rows``, and those behind the last."""
        return self._runs(rows, self.clip_counts(rows))

    def _runs(
        self, rows: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ends = self.first[rows].astype(np.int64)[:, None] + counts.cumsum(axis=1)
        begins = ends - counts
        if self.question is not None and self.questions is not None and QUESTION in self.parts:
            column = self.parts.index(QUESTION)
            begins[:, column] += self.question[rows]
            ends[:, column] = begins[:, column] + self.counts[rows, column]
        return begins, ends

    def layout(self, rows: NDArray[np.int64]) -> Layout:
        """Places of all members of the clips of the samples in ``rows``."""
        counts = self.clip_counts(rows)
        members = counts.sum(axis=1)
        ends = members.cumsum()
        begins = ends - members
        # From rows of the layout to rows of the index.
        shift = self.first[rows].astype(np.int64) - begins
        number = np.arange(members.sum()) + shift.repeat(members)
        size = self.size[number].astype(np.int64)
        room = -(-size // BLOCK) * BLOCK
        behind = (room + BLOCK).cumsum()
        before = np.concatenate([[0], behind])[begins]
        origin = (self.start[rows].astype(np.int64) - before).repeat(members)
        return Layout(
            row=self._runs(rows, counts)[0] - shift[:, None],
            number=number,
            begin=origin + behind - room,
            size=size,
            crc=self.crc[number],
        )

    def extent(self, row: int) -> tuple[int, int]:
        """First byte of the sample's clip, a header, and the byte behind the clip's last padding.

        The whole clip can be read, or copied to another shard, as this range.
        """
        first, start = int(self.first[row]), int(self.start[row])
        count = int(self.clip_counts(np.array([row])).sum())
        sizes = self.size[first : first + count].astype(np.int64)
        return start, start + int((-(-sizes // BLOCK) * BLOCK + BLOCK).sum())

    def fits(self, row: int, sizes: Mapping[str, int]) -> bool:
        """Whether the clip of the sample in ``row`` lies inside its shard.

        Args:
            row: Row of the sample.
            sizes: Size of every shard by its path.
        """
        return self.extent(row)[1] <= sizes.get(self.shards[self.shard[row]], 0)

    def entries(self, rows: NDArray[np.int64]) -> Iterator[SampleEntry]:
        """Yields the entry of each clip whose first row is among ``rows``, for `write_index`."""
        layout = self.layout(rows)
        # Lists, because a single number of an array takes twenty times as long.
        sizes, crcs = layout.size.tolist(), layout.crc.tolist()
        counts, starts = self.clip_counts(rows).tolist(), self.start[rows].tolist()
        end = 0
        for row, start, of_parts in zip(rows.tolist(), starts, counts, strict=True):
            begin, end = end, end + sum(of_parts)
            answers = self._answers(row)
            yield SampleEntry(
                key=self.clip_key(row),
                start=start,
                counts=tuple(of_parts),
                sizes=tuple(sizes[begin:end]),
                crcs=tuple(crcs[begin:end]),
                target=() if self.target is None else tuple(self.target[row].tolist()),
                group="" if answers else self.group_name(row),
                answers=answers,
            )

    def own_label(self, row: int) -> str:
        """Class name of the sample in ``row``; empty for a question, whose clip has none."""
        return "" if self._has_questions(row) else self.classes[self.label[row]]

    def group_name(self, row: int) -> str:
        """Name of the group of the sample in ``row``; empty for none."""
        return "" if self.group is None else self.groups[self.group[row]]

    def _answers(self, row: int) -> tuple[Answer, ...]:
        count = 0 if self.questions is None else int(self.questions[row])
        return tuple(
            Answer(
                id=split_key(self.key[each].decode())[1],
                label=self.classes[self.label[each]],
                group=self.group_name(each),
            )
            for each in range(row, row + count)
        )

    def _has_questions(self, row: int) -> bool:
        return self.questions is not None and bool(self.questions[row])


def _read_names(table: h5py.Dataset, path: Path) -> tuple[str, ...]:
    return tuple(name.decode() for name in map_table(path, table).tolist())
