"""How the members of a job arrive: from the cache or the store, each against its checksum."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from mmprep.errors import StoreError
from mmprep.format import crc32c
from mmprep.format.tar import BLOCK, padded_size
from mmprep.storage.store import BucketStore, LocalStore
from mmtrain.data.dataset import ShardedDataset
from mmtrain.data.reading.bucket import Remote
from mmtrain.data.reading.cache import Cache
from mmtrain.data.reading.local import Bytes, LocalReader, fetcher
from mmtrain.data.reading.options import Loading
from mmtrain.data.reading.plan import Job, Piece, Span, narrowed
from mmtrain.data.reading.traffic import Traffic

# Bytes that are read for nothing rather than asked for separately; a bucket answers slowly.
_GAP_LOCAL: Final = 4 << 10
_GAP_BUCKET: Final = 128 << 10
# A wrong bit may have come about on the way: so often is a member of a bucket read again.
_REREADS: Final = 2
_KEYS_SHOWN: Final = 3

# Visit, part and size of a member to memory that its last bytes may be read straight into, if any.
Room: TypeAlias = Callable[[int, str, int], Bytes | None]


class Arrivals:
    """Gives the members of jobs. To be closed.

    Args:
        dataset: The shards.
        loading: How a bucket is read.
        cache: What keeps the members that a bucket gave.
    """

    def __init__(
        self, dataset: ShardedDataset, loading: Loading, cache: Cache | None = None
    ) -> None:
        store = dataset.store
        self._dataset, self._cache = dataset, cache
        self.gap = _GAP_LOCAL if isinstance(store, LocalStore) else _GAP_BUCKET
        self._remote = Remote(store, loading) if isinstance(store, BucketStore) else None
        self._plain = fetcher(store)
        # Not for its subclasses and wrappers: what they do in `read` must be done.
        self._disk = LocalReader(store) if type(store) is LocalStore else None

    def close(self) -> None:
        """Ends the reads that go on; who waits for one meets a StoreError."""
        if self._remote is not None:
            self._remote.close()

    def of(
        self, job: Job, traffic: Traffic, room: Room = lambda *_: None
    ) -> Iterator[tuple[Piece, Bytes | None]]:
        """Each member of the job with its bytes, or None where they are damaged.

        All is read before the first is used, unless the disk is local. A local disk may be read
        into ``room``: then the bytes end where those begin.

        Args:
            job: What to read.
            traffic: Where to count.
            room: Memory for the last bytes of members.

        Raises:
            StoreError: The store cannot be read; names the shard and samples.
        """
        if self._disk is not None:
            return self._from_disk(self._disk, job, traffic, room)
        held = self._held(job, traffic)
        spans = job.spans
        if held:
            rest = [piece for piece in job.pieces if piece.number not in held]
            spans = narrowed(self._dataset.index, rest, self.gap) if rest else []
        arrived: list[tuple[Piece, Bytes | None]]
        arrived = [(piece, held[piece.number]) for piece in job.pieces if piece.number in held]
        for span, data in zip(spans, self._read(job.shard, spans, traffic), strict=True):
            for piece, found in _checked(span, data):
                sound = found if found is not None else self._again(job.shard, piece, traffic)
                if self._cache is not None and sound is not None:
                    self._cache.put(piece.number, sound)
                arrived.append((piece, sound))
            if self._cache is not None:
                self._keep_between(self._cache, span, data)
        return iter(arrived)

    def _from_disk(
        self, disk: LocalReader, job: Job, traffic: Traffic, room: Room
    ) -> Iterator[tuple[Piece, Bytes | None]]:
        spans = [(span.begin, span.end) for span in job.spans]
        traffic.requests += len(spans)
        rooms = [_rooms(span.pieces, room) for span in job.spans]
        asides = [
            [(piece.end - len(own), own) for piece, own in each if own is not None]
            for each in rooms
        ]
        for (begin, end), each, data in zip(
            spans, rooms, disk.read(job.shard, spans, asides), strict=True
        ):
            traffic.bytes += end - begin
            for piece, own in each:
                if own is None:
                    found = data[piece.begin - begin : piece.end - begin]
                    crc = crc32c(found)
                else:
                    found = data[piece.begin - begin : piece.end - len(own) - begin]
                    crc = crc32c(own, crc32c(found))
                yield piece, found if crc == piece.crc else None

    def _keep_between(self, cache: Cache, span: Span, data: Bytes) -> None:
        """Keeps what was read over, for the next epoch may show it."""
        index = self._dataset.index
        for piece, following in pairwise(span.pieces):
            begin = piece.end - span.begin
            for number in range(piece.number + 1, following.number):
                begin = padded_size(span.begin + begin) + BLOCK - span.begin
                end = begin + int(index.size[number])
                if crc32c(data[begin:end]) == index.crc[number]:
                    cache.put(number, data[begin:end])
                begin = end

    def _held(self, job: Job, traffic: Traffic) -> dict[int, Bytes]:
        """What the cache has, by number of the member."""
        if self._cache is None:
            return {}
        found = {piece.number: self._cache.get(piece.number) for piece in job.pieces}
        held = {number: data for number, data in found.items() if data is not None}
        traffic.cache_hits += len(held)
        traffic.cache_bytes += sum(len(data) for data in held.values())
        return held

    def _read(self, shard: str, spans: Sequence[Span], traffic: Traffic) -> Iterator[Bytes]:
        ranges = [(span.begin, span.end) for span in spans]
        if self._remote is None:
            traffic.requests += len(spans)
            traffic.bytes += sum(end - begin for begin, end in ranges)
            return self._plain(shard, ranges)
        try:
            return self._remote.fetch(shard, ranges, traffic)
        except StoreError as error:
            samples = (piece.sample for span in spans for piece in span.pieces)
            raise StoreError(f"{error} (wanted for {self._named(samples)})") from error

    def _again(self, shard: str, piece: Piece, traffic: Traffic) -> Bytes | None:
        """What further reads give; damage that stays lies in the store."""
        for _ in range(_REREADS):
            traffic.retries += 1
            span = Span(piece.begin, piece.end, [piece])
            [data] = self._read(shard, [span], traffic)
            [(_, found)] = _checked(span, data)
            if found is not None:
                return found
        return None

    def _named(self, samples: Iterable[int]) -> str:
        keys = [self._dataset.key(sample) for sample in dict.fromkeys(samples)]
        more = f" and {len(keys) - _KEYS_SHOWN} more" if len(keys) > _KEYS_SHOWN else ""
        return f"sample {', '.join(keys[:_KEYS_SHOWN])}{more}"


def _checked(span: Span, data: Bytes) -> Iterator[tuple[Piece, Bytes | None]]:
    for piece in span.pieces:
        own = data[piece.begin - span.begin : piece.end - span.begin]
        yield piece, own if crc32c(own) == piece.crc else None


def _rooms(pieces: Sequence[Piece], room: Room) -> list[tuple[Piece, Bytes | None]]:
    """Memory for each, unless several visits want one of them: what is read once is copied."""
    if len({piece.number for piece in pieces}) < len(pieces):
        return [(piece, None) for piece in pieces]
    return [(piece, room(piece.visit, piece.part, piece.end - piece.begin)) for piece in pieces]
