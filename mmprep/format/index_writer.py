"""Writes `index.h5`: the same samples give the same bytes, and those of format 1 where it does."""

import io
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import h5py
import numpy as np
from numpy.typing import NDArray

from mmprep.errors import DataError
from mmprep.format.answer import QUESTION, row_key
from mmprep.format.columns import NAMES, TABLES
from mmprep.format.tar import SampleEntry

_CODES: Final = dict(zip(TABLES, "HBIQQHII", strict=True))  # the same widths, for `array`
_MOST_GROUPS: Final = 1 << 16


def write_index(
    entries: Iterable[tuple[SampleEntry, int, int, int]],
    *,
    classes: Sequence[str],
    splits: Sequence[str],
    shards: Sequence[str],
    parts: Sequence[str],
) -> bytes:
    """Bytes of an index; the same input gives the same bytes.

    A clip with answers becomes a row for each, whatever its own label.

    Args:
        entries: Tuples ``(entry, label, split, shard)``, in shard order.
        classes: Class names, at which ``label`` points.
        splits: Split names, at which ``split`` points.
        shards: Paths of the shards, at which ``shard`` points.
        parts: Part names, the record first, in the order of ``entry.counts``.

    Raises:
        DataError: Samples have unequally many target values, an answer is none of the classes, or
            there are too many groups.
    """
    rows = _Rows(classes, parts)
    for entry, label, split, shard in entries:
        rows.add(entry, label, split, shard)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v110"), track_order=False) as file:
        for name, strings in zip(NAMES, (classes, splits, shards, parts), strict=True):
            file.create_dataset(name, data=_ascii(strings), track_times=False)
        for name, table in rows.tables():
            file.create_dataset(name, data=table, track_times=False)
    return buffer.getvalue()


class _Rows:
    """Columns while they grow."""

    def __init__(self, classes: Sequence[str], parts: Sequence[str]) -> None:
        self._class_id = {name: number for number, name in enumerate(classes)}
        self._parts = parts
        self._keys: list[str] = []
        # Arrays, not lists of rows: ten million samples have two hundred million members.
        self._flat = {name: array(code) for name, code in _CODES.items()}
        self._target = array("f")
        self._groups: dict[str, int] = {}
        self._group = array("I")
        self._question, self._questions = array("H"), array("H")

    def add(self, entry: SampleEntry, label: int, split: int, shard: int) -> None:
        """Adds the rows of one clip."""
        if len(self._target) != len(self._keys) * len(entry.target):
            raise DataError(
                f"{entry.key} has {len(entry.target)} target values; all samples need as many"
            )
        first = len(self._flat["size"])
        for number, answer in enumerate(entry.answers):
            key = row_key(entry.key, answer.id)
            if answer.label not in self._class_id:
                raise DataError(f"{key}: {answer.label!r} is none of the classes")
            label = self._class_id[answer.label]
            self._add_row(key, answer.group, number, entry, (label, split, shard, first))
        if not entry.answers:
            self._add_row(entry.key, entry.group, 0, entry, (label, split, shard, first))
        self._flat["size"].extend(entry.sizes)
        self._flat["crc"].extend(entry.crcs)

    def _add_row(
        self,
        key: str,
        group: str,
        number: int,
        entry: SampleEntry,
        values: tuple[int, int, int, int],
    ) -> None:
        self._keys.append(key)
        names = ("label", "split", "shard", "first", "start")
        for name, value in zip(names, (*values, entry.start), strict=True):
            self._flat[name].append(value)
        self._flat["counts"].extend(
            1 if entry.answers and part == QUESTION else count
            for part, count in zip(self._parts, entry.counts, strict=True)
        )
        self._target.extend(entry.target)
        self._group.append(self._groups.setdefault(group, len(self._groups)))
        self._question.append(number)
        self._questions.append(len(entry.answers))

    def tables(self) -> Iterator[tuple[str, NDArray[np.generic]]]:
        """Yields the name and the values of each column; those of format 2 where they are used."""
        rows = len(self._keys)
        yield "key", _ascii(self._keys)
        for name, column in self._flat.items():
            table = np.array(column, TABLES[name])
            yield name, table.reshape(rows, len(self._parts)) if name == "counts" else table
        if self._target:
            yield "target", np.array(self._target, "<f4").reshape(rows, -1)
        if any(self._groups):
            if len(self._groups) > _MOST_GROUPS:
                raise DataError(f"{len(self._groups):,} groups; there may be {_MOST_GROUPS:,}")
            names = sorted(self._groups)
            ids = {name: number for number, name in enumerate(names)}
            order = np.array([ids[name] for name in self._groups], "<u2")
            yield "groups", _ascii(names)
            yield "group", order[np.array(self._group)]
        if any(self._questions):
            yield "question", np.array(self._question, "<u2")
            yield "questions", np.array(self._questions, "<u2")


def _ascii(values: Sequence[str]) -> NDArray[np.bytes_]:
    encoded = [value.encode() for value in values]
    return np.array(encoded, f"S{max(map(len, encoded), default=1) or 1}")
