"""Draws, for each clip, the other clips whose sounds make its babble (``audio.babble_db``).

The draw depends on keys alone. All clips of a split that have a sound lie on a ring, at a hash of
their keys; a clip's own key gives several points of the ring, and from each point one of the next
few clips is taken. So another split is never heard, neither the order of rows nor the number of
workers matters, and clips that are added to the lists change only the few draws in front of which
they land. The drawn clips are written into the row, and so into the plan and the list of failures:
an extension leaves the draws of old clips as they are, and a repair mixes what the first build
would have mixed.

Each clip of a babble is opened for each clip that hears it; from a bucket, it is fetched as often.
"""

import hashlib
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from mmprep.manifest import Row, Voice

# Number of clips behind a point among which a draw chooses: clips lie unevenly on the ring, and the
# next one alone would be heard ten times as often where the gap before it is wide.
_NEAR: Final = 8
# Clips that are drawn beyond those wanted, to take the place of silent and damaged ones.
_SPARES: Final = 2


def draw_voices(rows: Sequence[Row], wanted: int) -> list[Row]:
    """Copies of ``rows`` with the voices of each: ``wanted`` clips of its split, and two spares.

    A clip's own file is never among them, whatever span of it another row cuts. Splits with fewer
    files give fewer voices.

    Args:
        rows: All clips of the lists that have their files.
        wanted: Number of clips that a babble is made of.
    """
    by_split: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if _sound(row):
            by_split[row.split].append(row)
    rings = {split: _Ring(members) for split, members in by_split.items()}
    count = wanted + _SPARES
    return [
        replace(row, voices=tuple(rings[row.split].draw(row, count))) if row.split in rings else row
        for row in rows
    ]


class _Ring:
    """Clips of one split at the hashes of their keys."""

    def __init__(self, rows: Sequence[Row]) -> None:
        placed = sorted(((_point(row.key), row) for row in rows), key=lambda pair: pair[0])
        self._points = [point for point, _ in placed]
        self._rows = [row for _, row in placed]
        self._files = {_sound(row) for row in rows}

    def draw(self, row: Row, count: int) -> Iterator[Voice]:
        """Yields up to ``count`` other clips, no two of them from one file."""
        heard = {_sound(row)}
        for turn in range(count):
            other = self._next(_point(f"{turn}:{row.key}"), heard)
            if other is None:
                return
            source = _sound(other)
            heard.add(source)
            yield Voice(
                key=other.key, source=source, start=other.start, end=other.end, listed=other.listed
            )

    def _next(self, point: bytes, heard: set[str]) -> Row | None:
        """One of the clips behind ``point``, whose file is not among ``heard``."""
        if self._files <= heard:
            return None
        first = bisect(self._points, point) + point[-1] % _NEAR
        size = len(self._rows)
        around = (self._rows[(first + step) % size] for step in range(size))
        return next((row for row in around if _sound(row) not in heard), None)


def _sound(row: Row) -> str:
    """Path of the file with the sound of ``row``; empty where it has none."""
    return row.sources.get("audio") or row.sources.get("video", "")


def _point(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16, person=b"babble").digest()
