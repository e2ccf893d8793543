"""Plans the byte ranges to read for the visits ahead: by shard, with near ones merged.

A read never spans a member of a part that its visit does not show, however near the wanted ones
lie: between two wanted members there may be headers, the record of the next sample, or frames that
their visit did not choose, and no more than ``gap`` bytes of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmprep.format import Index

# Bytes from which on a job takes no further sample, so that enough jobs run side by side. From a
# bucket, where each request has its price, more, as long as there are enough jobs all the same.
_JOB_BYTES: Final = 1 << 20
_MOST_JOB_BYTES: Final = 4 << 20


class Visit(NamedTuple):
    """One visit of a sample, with the members that it reads.

    Attributes:
        sample: Id of the sample.
        members: Part to the positions of the members that are read, among those of the part.
    """

    sample: int
    members: Mapping[str, Sequence[int]]


class Piece(NamedTuple):
    """One member that one visit reads.

    Attributes:
        number: Row of the member in the index.
        visit: Position of the visit among those that are planned together.
        sample: Id of the sample.
        part: Name of the part.
        ordinal: Position among the part's members of the sample.
        place: Position among the members of the part that the visit reads.
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
    """Byte range that is read at once, and the members in it."""

    begin: int
    end: int
    pieces: list[Piece]


@dataclass(frozen=True, eq=False)
class Job:
    """Reads from one shard that one thread carries out, all members of its visits among them.

    Attributes:
        shard: Path of the shard.
        spans: Byte ranges, ascending.
    """

    shard: str
    spans: list[Span] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Number of bytes that are read."""
        return sum(span.end - span.begin for span in self.spans)

    @property
    def pieces(self) -> Iterator[Piece]:
        """Members of all spans, in the order of their bytes."""
        return (piece for span in self.spans for piece in span.pieces)

    def _add(self, piece: Piece, joins: bool) -> None:
        if joins:
            last = self.spans[-1]
            last.end = max(last.end, piece.end)
            last.pieces.append(piece)
        else:
            self.spans.append(Span(piece.begin, piece.end, [piece]))


def plan(
    index: Index,
    visits: Sequence[Visit],
    gap: int,
    jobs_at_least: int | None = None,
    *,
    small: bool = False,
) -> list[Job]:
    """Plans the jobs that together read every member of ``visits``, the earliest visits first.

    A member that several visits read is read once.

    Args:
        index: Index of the shards.
        visits: Samples and their members.
        gap: Largest number of unwanted bytes between two members that are read together.
        jobs_at_least: Number of jobs that run side by side; where their bytes allow more of them,
            neighbours are read by fewer and larger ones. None never makes larger ones.
        small: Whether jobs may also be smaller than is cheap, down to one clip each, to become as
            many as ``jobs_at_least``.
    """
    pieces, joins = _pieces(index, visits, gap)
    limit = _job_bytes(pieces, jobs_at_least, 0 if small else _JOB_BYTES)
    jobs: list[Job] = []
    first_visits: list[int] = []
    previous = -1
    for piece, joined in zip(pieces, joins, strict=True):
        clip = int(index.first[piece.sample])
        # Jobs are cut between clips only, so that one thread has all members of a visit.
        if clip != previous and not (joined and jobs[-1].bytes < limit):
            jobs.append(Job(index.shards[index.shard[piece.sample]]))
            first_visits.append(piece.visit)
            joined = False
        jobs[-1]._add(piece, joined)
        first_visits[-1] = min(first_visits[-1], piece.visit)
        previous = clip
    return [jobs[i] for i in sorted(range(len(jobs)), key=first_visits.__getitem__)]


def _job_bytes(pieces: Sequence[Piece], jobs: int | None, least: int) -> int:
    """Number of bytes from which on a job takes no further sample."""
    if jobs is None:
        return _JOB_BYTES
    share = sum(piece.end - piece.begin for piece in pieces) // jobs
    return min(max(share, least), _MOST_JOB_BYTES)


def spans_of(index: Index, pieces: Sequence[Piece], gap: int) -> list[Span]:
    """Plans the byte ranges for some of one job's pieces, by the rules of `plan`."""
    job = Job("")
    columns = [index.parts.index(piece.part) for piece in pieces]
    sample, begin, end = np.array([(each.sample, each.begin, each.end) for each in pieces]).T
    for piece, joins in zip(
        pieces, _joins(index, sample, np.array(columns), begin, end, gap), strict=True
    ):
        job._add(piece, joins)
    return job.spans


def member_name(index: Index, piece: Piece) -> str:
    """Name of the member in its shard, for messages."""
    return index.members(piece.sample)[piece.part][piece.ordinal].name


def _pieces(index: Index, visits: Sequence[Visit], gap: int) -> tuple[list[Piece], list[bool]]:
    """Every member once a visit that reads it, in the order of the bytes, and the `_joins`.

    With whole arrays, since this runs in the training thread, for hundreds of members a batch.
    """
    columns = {part: i for i, part in enumerate(index.parts)}
    heads = [
        (visit, columns[part], ordinal, place)
        for visit, each in enumerate(visits)
        for part, ordinals in each.members.items()
        for place, ordinal in enumerate(ordinals)
    ]
    if not heads:
        return [], []
    samples = np.array([each.sample for each in visits], np.int64)
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
    """True for each member that is read together with the one before."""
    # Rows in the index of the first member of each one's part, and of the one behind its last.
    first = index.first[sample].astype(np.int64)
    every = np.arange(len(sample))
    foremost, behind = (rows[every, column] for rows in index.runs(sample))
    # Members of other parts between two that are wanted; the record of a sample may be read over.
    others = foremost[1:] - behind[:-1]
    only_record = (others == 1) & (behind[:-1] == first[1:])
    hides_nothing = (others <= 0) | only_record
    same_shard = np.diff(index.shard[sample].astype(np.int64)) == 0
    near = begin[1:] - end[:-1] <= gap
    return [False, *(same_shard & hides_nothing & near).tolist()]
