"""Which bytes to read for the visits ahead: grouped by shard, near ones merged.

A read never spans a member of a part that its visit does not show, whatever lies near: between two
wanted members there may be headers, the record of the next sample, or frames that their visit did
not choose, and no more than ``gap`` bytes of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from mmprep.format import Index, member_names

# A job larger than this takes no further sample, so that many are read and decoded at once.
_JOB_BYTES: Final = 1 << 20


class Want(NamedTuple):
    """What one visit reads: a sample, and which members of which parts."""

    sample: int
    members: Mapping[str, Sequence[int]]


class Piece(NamedTuple):
    """One member that one visit wants.

    Attributes:
        number: Its row among the members of the index.
        visit: Of those that are planned together.
        sample: Its sample.
        part: Its part.
        ordinal: Which of the part's members it is.
        place: Which of the visit's members of that part it becomes.
        begin: First byte in the shard.
        end: Byte behind the last.
        crc: CRC32C of the bytes.
    """

    number: int
    visit: int
    sample: int
    part: str
    ordinal: int
    place: int
    begin: int
    end: int
    crc: int


@dataclass(eq=False)
class Span:
    """Bytes that are read at once, and the members among them."""

    begin: int
    end: int
    pieces: list[Piece]


@dataclass(frozen=True, eq=False)
class Job:
    """Reads that belong together: all of its visits, and of its visits all.

    Attributes:
        shard: Path of the shard.
        spans: What to read, in the order of the bytes.
    """

    shard: str
    spans: list[Span] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Bytes that are read."""
        return sum(span.end - span.begin for span in self.spans)

    @property
    def pieces(self) -> Iterator[Piece]:
        """Members of all spans."""
        return (piece for span in self.spans for piece in span.pieces)

    def _add(self, piece: Piece, joins: bool) -> None:
        if joins:
            last = self.spans[-1]
            last.end = max(last.end, piece.end)
            last.pieces.append(piece)
        else:
            self.spans.append(Span(piece.begin, piece.end, [piece]))


def plan(index: Index, wants: Sequence[Want], gap: int) -> list[Job]:
    """The jobs that together read every member of ``wants``, the earliest visits first.

    A member that several visits want is read once.
    """
    pieces = sorted(_pieces(index, wants))
    if not pieces:
        return []
    jobs: list[Job] = []
    before = -1
    for piece, joins in zip(pieces, _joins(index, pieces, gap), strict=True):
        if piece.sample != before and not (joins and jobs[-1].bytes < _JOB_BYTES):
            jobs.append(Job(index.shards[index.shard[piece.sample]]))
            joins = False
        jobs[-1]._add(piece, joins)
        before = piece.sample
    return sorted(jobs, key=lambda job: min(piece.visit for piece in job.pieces))


def narrowed(index: Index, pieces: Sequence[Piece], gap: int) -> list[Span]:
    """What to read for some pieces of one job, as `plan` would."""
    job = Job("")
    for piece, joins in zip(pieces, _joins(index, pieces, gap), strict=True):
        job._add(piece, joins)
    return job.spans


def member_name(index: Index, piece: Piece) -> str:
    """Name of the member, for messages."""
    count = int(index.counts[piece.sample, index.parts.index(piece.part)])
    key = index.key[piece.sample].decode()
    return member_names(key, piece.part, count)[piece.ordinal]


def _pieces(index: Index, wants: Sequence[Want]) -> Iterator[Piece]:
    heads = [
        (visit, want.sample, part, ordinal, place)
        for visit, want in enumerate(wants)
        for part, ordinals in want.members.items()
        for place, ordinal in enumerate(ordinals)
    ]
    layout = index.layout(np.array([want.sample for want in wants], np.int64))
    columns = {part: i for i, part in enumerate(index.parts)}
    at = np.array(
        [(visit, columns[part], ordinal) for visit, _, part, ordinal, _ in heads], np.int64
    ).reshape(-1, 3)
    rows = layout.row[at[:, 0], at[:, 1]] + at[:, 2]
    begins = layout.begin[rows]
    tails = zip(
        layout.number[rows].tolist(),
        begins.tolist(),
        (begins + layout.size[rows]).tolist(),
        layout.crc[rows].tolist(),
        strict=True,
    )
    for (number, begin, end, crc), head in zip(tails, heads, strict=True):
        yield Piece(number, *head, begin, end, crc)


def _joins(index: Index, pieces: Sequence[Piece], gap: int) -> list[bool]:
    """Which pieces are read together with the one before."""
    sample = np.array([piece.sample for piece in pieces])
    begin, end = np.array([(piece.begin, piece.end) for piece in pieces]).T
    part = np.array([index.parts.index(piece.part) for piece in pieces])
    # Of each piece's part, its first member and the one behind its last.
    first = index.first[sample].astype(np.int64)
    counts = index.counts[sample].astype(np.int64)
    behind = first + counts.cumsum(axis=1)[np.arange(len(part)), part]
    foremost = behind - counts[np.arange(len(part)), part]
    others = foremost[1:] - behind[:-1]
    only_record = (others == 1) & (behind[:-1] == first[1:])
    hides_nothing = (others <= 0) | only_record
    same_shard = np.diff(index.shard[sample].astype(np.int64)) == 0
    near = begin[1:] - end[:-1] <= gap
    return [False, *(same_shard & hides_nothing & near).tolist()]
