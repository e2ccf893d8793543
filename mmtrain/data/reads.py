"""Which bytes to read for the visits ahead: grouped by shard, near ones merged.

A read never spans a member of a part that its visit does not show, whatever lies near: between two
wanted members there may be headers, the record of the next sample, or frames of the same clip that
were not chosen, and no more than ``gap`` bytes of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mmprep.format import Index, member_names

# A job larger than this takes no further sample, so that many are read and decoded at once.
_JOB_BYTES: Final = 1 << 20


class Want(NamedTuple):
    """What one visit reads: a sample, and which members of which parts."""

    sample: int
    members: Mapping[str, Sequence[int]]


class Piece(NamedTuple):
    """One member that one visit wants."""

    visit: int
    part: str
    place: int
    ordinal: int
    sample: int
    number: int
    begin: int
    end: int
    crc: int


@dataclass(frozen=True, eq=False)
class Job:
    """Reads that belong together, and the visits that they complete.

    Attributes:
        shard: Path of the shard.
        spans: Byte ranges to read.
        pieces: Span in which it lies, and member; all those of a visit are in one job.
    """

    shard: str
    spans: list[tuple[int, int]] = field(default_factory=list)
    pieces: list[tuple[int, Piece]] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Bytes that are read."""
        return sum(end - begin for begin, end in self.spans)

    def visits(self) -> dict[int, list[tuple[int, Piece]]]:
        """Visits with their pieces."""
        found: dict[int, list[tuple[int, Piece]]] = {}
        for span, piece in self.pieces:
            found.setdefault(piece.visit, []).append((span, piece))
        return found

    def _add(self, piece: Piece, joins: bool) -> None:
        if joins:
            begin, end = self.spans[-1]
            self.spans[-1] = begin, max(end, piece.end)
        else:
            self.spans.append((piece.begin, piece.end))
        self.pieces.append((len(self.spans) - 1, piece))


def plan(index: Index, wants: Sequence[Want], gap: int) -> list[Job]:
    """The jobs that together read every member of ``wants``, the earliest visits first.

    A member that several visits want is read once.
    """
    pieces = [piece for i, want in enumerate(wants) for piece in _pieces(index, i, want)]
    pieces.sort(key=lambda piece: (piece.number, piece.visit))
    jobs: list[Job] = []
    before: Piece | None = None
    for piece in pieces:
        joins = before is not None and _joins(index, before, piece, gap)
        new = before is None or (
            piece.sample != before.sample and not (joins and jobs[-1].bytes < _JOB_BYTES)
        )
        if new:
            jobs.append(Job(index.shards[index.shard[piece.sample]]))
        jobs[-1]._add(piece, joins and not new)
        before = piece
    return sorted(jobs, key=lambda job: min(piece.visit for _, piece in job.pieces))


def name(index: Index, piece: Piece) -> str:
    """Name of the member, for messages."""
    count = int(index.counts[piece.sample, index.parts.index(piece.part)])
    key = index.key[piece.sample].decode()
    return member_names(key, piece.part, count)[piece.ordinal]


def _pieces(index: Index, visit: int, want: Want) -> Iterator[Piece]:
    sample = want.sample
    first, counts = int(index.first[sample]), index.counts[sample].tolist()
    run = slice(first, first + sum(counts))
    begins, sizes = index.offsets(sample).tolist(), index.size[run].tolist()
    crcs = index.crc[run].tolist()
    for part, ordinals in want.members.items():
        before = sum(counts[: index.parts.index(part)])
        for place, ordinal in enumerate(ordinals):
            i = before + ordinal
            yield Piece(
                visit=visit,
                part=part,
                place=place,
                ordinal=ordinal,
                sample=sample,
                number=first + i,
                begin=begins[i],
                end=begins[i] + sizes[i],
                crc=crcs[i],
            )


def _joins(index: Index, before: Piece, piece: Piece, gap: int) -> bool:
    if index.shard[before.sample] != index.shard[piece.sample]:
        return False
    between = piece.number - before.number - 1
    same_part = before.sample == piece.sample and before.part == piece.part
    only_record = between == 1 and piece.number - 1 == int(index.first[piece.sample])
    hides_nothing = between <= 0 or same_part or only_record
    return hides_nothing and piece.begin - before.end <= gap
