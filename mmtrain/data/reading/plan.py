"""Which bytes to read for the visits ahead: grouped by shard, near ones merged.

A read never spans a member of a part that its visit does not show, whatever lies near: between two
wanted members there may be headers, the record of the next sample, or frames that their visit did
not choose, and no more than ``gap`` bytes of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    pieces, joins = _pieces(index, wants, gap)
    jobs: list[Job] = []
    firsts: list[int] = []
    before = -1
    for piece, joined in zip(pieces, joins, strict=True):
        if piece.sample != before and not (joined and jobs[-1].bytes < _JOB_BYTES):
            jobs.append(Job(index.shards[index.shard[piece.sample]]))
            firsts.append(piece.visit)
            joined = False
        jobs[-1]._add(piece, joined)
        firsts[-1] = min(firsts[-1], piece.visit)
        before = piece.sample
    return [jobs[i] for i in sorted(range(len(jobs)), key=firsts.__getitem__)]


def narrowed(index: Index, pieces: Sequence[Piece], gap: int) -> list[Span]:
    """What to read for some pieces of one job, as `plan` would."""
    job = Job("")
    columns = [index.parts.index(piece.part) for piece in pieces]
    sample, begin, end = np.array([(each.sample, each.begin, each.end) for each in pieces]).T
    for piece, joins in zip(
        pieces, _joins(index, sample, np.array(columns), begin, end, gap), strict=True
    ):
        job._add(piece, joins)
    return job.spans


def member_name(index: Index, piece: Piece) -> str:
    """Name of the member, for messages."""
    count = int(index.counts[piece.sample, index.parts.index(piece.part)])
    key = index.key[piece.sample].decode()
    return member_names(key, piece.part, count)[piece.ordinal]


def _pieces(index: Index, wants: Sequence[Want], gap: int) -> tuple[list[Piece], list[bool]]:
    """Every member as often as it is wanted, in the order of the bytes, and what joins what."""
    columns = {part: i for i, part in enumerate(index.parts)}
    heads = [
        (visit, columns[part], ordinal, place)
        for visit, want in enumerate(wants)
        for part, ordinals in want.members.items()
        for place, ordinal in enumerate(ordinals)
    ]
    if not heads:
        return [], []
    samples = np.array([want.sample for want in wants], np.int64)
    visit, column, ordinal, place = np.array(heads, np.int64).T
    layout = index.layout(samples)
    rows = layout.row[visit, column] + ordinal
    order = np.lexsort((place, visit, layout.number[rows]))
    visit, column, ordinal, place, rows = (
        each[order] for each in (visit, column, ordinal, place, rows)
    )
    sample, begin = samples[visit], layout.begin[rows]
    end = begin + layout.size[rows]
    numbers = (layout.number[rows], visit, sample, column, ordinal, place, begin, end)
    pieces = [
        Piece(number, visit, sample, index.parts[column], ordinal, place, begin, end, crc)
        for number, visit, sample, column, ordinal, place, begin, end, crc in zip(
            *(each.tolist() for each in (*numbers, layout.crc[rows])), strict=True
        )
    ]
    return pieces, _joins(index, sample, column, begin, end, gap)


def _joins(
    index: Index,
    sample: NDArray[np.int64],
    column: NDArray[np.int64],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    gap: int,
) -> list[bool]:
    """Which members are read together with the one before."""
    # Of each one's part, its first member and the one behind its last.
    first = index.first[sample].astype(np.int64)
    counts = index.counts[sample].astype(np.int64)
    every = np.arange(len(sample))
    behind = first + counts.cumsum(axis=1)[every, column]
    foremost = behind - counts[every, column]
    others = foremost[1:] - behind[:-1]
    only_record = (others == 1) & (behind[:-1] == first[1:])
    hides_nothing = (others <= 0) | only_record
    same_shard = np.diff(index.shard[sample].astype(np.int64)) == 0
    near = begin[1:] - end[:-1] <= gap
    return [False, *(same_shard & hides_nothing & near).tolist()]
