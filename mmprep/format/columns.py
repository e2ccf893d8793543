"""Columns of `index.h5`: their types on disk, and which of them belong to format 2."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmprep.format.answer import QUESTION

TABLES: Final[Mapping[str, str]] = {
    "label": "<u2",
    "split": "u1",
    "shard": "<u4",
    "start": "<u8",
    "first": "<u8",
    "counts": "<u2",
    "size": "<u4",
    "crc": "<u4",
}
NAMES: Final = ("classes", "splits", "shards", "parts")
# Additions of format 2 to their tables; a file has all tables of an addition or none.
ADDED: Final[Mapping[str, Mapping[str, str]]] = {
    "target": {"target": "<f4"},
    "group": {"group": "<u2"},
    "questions": {"question": "<u2", "questions": "<u2"},
}
# Tables of names that belong to an addition.
ADDED_NAMES: Final[Mapping[str, str]] = {"group": "groups"}
RANKS: Final[Mapping[str, int]] = {"counts": 2, "target": 2}  # all others have one dimension


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """The columns of an index; ``n`` samples, ``m`` members in all, ``p`` parts.

    A clip without questions is one sample, and so is each question of a clip with some. Samples of
    one clip lie one behind the other and share its members, all but the questions.

    Attributes:
        classes: Class names, at which ``label`` points.
        splits: Split names, at which ``split`` points.
        shards: Paths of the shards relative to the data set, at which ``shard`` points.
        parts: Part names, the record ``json`` first.
        key: (n,) ASCII bytes.
        label: (n,) class id.
        split: (n,) split id.
        shard: (n,) shard id.
        start: (n,) byte of the shard at which the first header of the sample's clip begins.
        first: (n,) row of the clip's first member in ``size`` and ``crc``.
        counts: (n, p) number of members of each part; of a question, its own.
        size: (m,) number of bytes of each member.
        crc: (m,) CRC32C of each member.
        target: (n, k) numbers to predict beside the label; None in a data set without.
        groups: Names of the groups of samples, at which ``group`` points.
        group: (n,) group id; None in a data set without.
        question: (n,) position of the sample among the questions of its clip, 0 for a clip without;
            None in a data set without questions.
        questions: (n,) number of questions of the sample's clip, 0 for a clip without.
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
    target: NDArray[np.float32] | None = None
    groups: tuple[str, ...] = ()
    group: NDArray[np.uint16] | None = None
    question: NDArray[np.uint16] | None = None
    questions: NDArray[np.uint16] | None = None

    def __len__(self) -> int:
        return len(self.key)

    @property
    def additions(self) -> tuple[str, ...]:
        """Additions of format 2 that the index has, of those in `ADDED`."""
        return tuple(name for name in ADDED if getattr(self, name) is not None)

    @property
    def clips(self) -> NDArray[np.int64]:
        """(c,) row of each clip, in shard order; of a clip with questions, that of the first."""
        if self.question is None:
            return np.arange(len(self))
        return np.flatnonzero(self.question == 0)

    def clip_counts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(r, p) number of members that the clips of ``rows`` have in their shards."""
        counts = self.counts[rows].astype(np.int64)
        if self.questions is not None and QUESTION in self.parts:
            column = self.parts.index(QUESTION)
            shared = self.questions[rows].astype(np.int64)
            counts[:, column] = np.where(shared > 0, shared, counts[:, column])
        return counts
