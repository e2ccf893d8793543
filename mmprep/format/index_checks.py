"""Checks of an index before it is used: a stranger may have written any number anywhere."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmprep.errors import DataError
from mmprep.format.answer import MARK, QUESTION
from mmprep.format.columns import ADDED, TABLES, Columns
from mmprep.format.parts import PARTS, RECORD

# Advice for a damaged index. A copy lies wherever the data set came from.
REMEDY: Final = "run `mmprep verify`, and copy or build the data set again"
# Bytes of keys: names of files could lead elsewhere with any others.
_KEY_BYTES: Final = np.zeros(256, bool)
_KEY_BYTES[[0, *b"-_", *range(48, 58), *range(65, 91), *range(97, 123)]] = True
_LONGEST_KEY: Final = 80
# Columns that all questions of a clip have in common.
_OF_CLIP: Final = ("split", "shard", "start", "first", "questions", "counts")


def check_columns(columns: Columns, path: Path) -> None:
    """Checks that the columns of the index at ``path`` fit together.

    Raises:
        DataError: They do not; names the column.
    """
    n = len(columns)
    _check_keys(columns, path)
    added = [table for name in columns.additions for table in ADDED[name]]
    for name in (*TABLES, *added):
        if name not in ("size", "crc") and len(getattr(columns, name)) != n:
            raise DataError(f"{path}: column {name!r} has not the {n} rows of `key`")
    if strange := [part for part in columns.parts if part not in {RECORD, *PARTS}]:
        raise DataError(f"{path}: no part {strange[0]!r} in this format; upgrade mmprep")
    if columns.counts.shape[1:] != (len(columns.parts),):
        raise DataError(f"{path}: column 'counts' has not the {len(columns.parts)} parts")
    if columns.questions is not None:
        _check_questions(columns, path)
    _check_members(columns, path)
    for name, known in (
        ("label", columns.classes),
        ("split", columns.splits),
        ("shard", columns.shards),
        *([("group", columns.groups)] if columns.group is not None else []),
    ):
        if n and int(getattr(columns, name).max()) >= len(known):
            raise DataError(f"{path}: column {name!r} points outside its {len(known)} names")
    if len(set(columns.groups)) != len(columns.groups):
        raise DataError(f"{path}: two groups have one name")
    if columns.target is not None and not (
        columns.target.shape[1] and np.isfinite(columns.target).all()
    ):
        raise DataError(f"{path}: column 'target' holds no finite numbers")


def _check_members(columns: Columns, path: Path) -> None:
    clips, m = columns.clips, len(columns.size)
    counts, first = columns.counts, columns.first
    if columns.questions is not None:
        counts, first = columns.clip_counts(clips).astype(np.uint64), columns.first[clips]
    members = counts.sum(axis=1, dtype=np.uint64)
    ends = members.cumsum(dtype=np.uint64)
    total = int(ends[-1]) if len(clips) else m
    if len(columns.crc) != m or total != m or (ends - members != first).any():
        raise DataError(f"{path}: the members do not add up to {m}")


def _check_questions(columns: Columns, path: Path) -> None:
    """Checks that the questions of each clip are whole runs of rows that differ in nothing else."""
    question, questions = (np.asarray(c, np.int64) for c in (columns.question, columns.questions))
    rows = np.arange(len(columns))
    begins = np.flatnonzero(question == 0)
    if len(rows) and not (len(begins) and begins[0] == 0):
        raise DataError(f"{path}: column 'question' does not begin at 0")
    clip = begins.repeat(np.diff(np.append(begins, len(rows))))
    if (question != rows - clip).any():
        raise DataError(f"{path}: column 'question' does not number the rows of each clip")
    if (np.diff(np.append(begins, len(rows))) != np.maximum(questions[begins], 1)).any():
        raise DataError(f"{path}: column 'questions' does not count the rows of each clip")
    for name in _OF_CLIP:
        values = getattr(columns, name)
        if (values != values[clip]).any():
            raise DataError(f"{path}: column {name!r} differs between questions of one clip")
    shared = questions > 0
    if QUESTION in columns.parts:
        own = columns.counts[:, columns.parts.index(QUESTION)]
        if (own[shared] != 1).any():
            raise DataError(f"{path}: column 'counts' has a question with other members")
    _check_question_keys(columns, clip[shared], np.flatnonzero(shared), path)


def _check_question_keys(
    columns: Columns, clip: NDArray[np.int64], rows: NDArray[np.int64], path: Path
) -> None:
    """Checks that keys of questions are the clip's, ``-q`` and an id without a hyphen."""
    keys: Any = columns.key[rows]
    at = np.char.rfind(keys, MARK.encode())
    whole = (at > 0) & (at == np.char.rfind(keys, b"-")) & (np.char.str_len(keys) > at + len(MARK))
    letters = _letters(columns)
    same = letters[rows] == letters[clip]
    behind = np.arange(letters.shape[1]) >= (at + len(MARK))[:, None]
    if not (whole.all() and (same | behind).all()):
        raise DataError(f"{path}: holds a key of a question that does not fit its clip; {REMEDY}")


def _check_keys(columns: Columns, path: Path) -> None:
    letters = _letters(columns)
    used = letters != 0
    # Zeros fill a key up behind its end, and nowhere else.
    whole = used[:, :1].all() and not (used[:, 1:] & ~used[:, :-1]).any()
    if letters.shape[1] > _LONGEST_KEY or not whole or not _KEY_BYTES[letters].all():
        raise DataError(f"{path}: holds a key that no sample may have; {REMEDY}")


def _letters(columns: Columns) -> NDArray[np.uint8]:
    """(n, w) bytes of the keys, filled up with zeros."""
    width = columns.key.dtype.itemsize
    return np.ascontiguousarray(columns.key).view(np.uint8).reshape(len(columns), width)
