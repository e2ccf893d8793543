"""Reads the members of a job, from the cache or the store, and checks each against its checksum."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

from mmprep.errors import StoreError
from mmprep.format import Index, crc32c
from mmprep.format.tar import BLOCK, padded_size
from mmprep.storage.store import BucketStore, LocalStore
from mmtrain.data.dataset import ShardedDataset
from mmtrain.data.reading.bucket import BucketReader, Order
from mmtrain.data.reading.cache import Cache
from mmtrain.data.reading.local import Bytes, LocalReader, read_ranges
from mmtrain.data.reading.options import StreamOptions
from mmtrain.data.reading.plan import Job, Piece, Span, Visit, plan, spans_of
from mmtrain.data.reading.traffic import Traffic

# Largest number of unwanted bytes between two members that are read together: as many as come in
# the time that a request of its own would wait for its first byte. For a bucket, bytes a second are
# the share of one request where four ranks with 48 each fill a network of 10 Gb/s.
_GAP_LOCAL: Final = 4 << 10
_FIRST_BYTE_S: Final = 0.02
_SHARE_BYTES_S: Final = 6_500_000
_GAP_BUCKET: Final = int(_FIRST_BYTE_S * _SHARE_BYTES_S)
# Fewest requests that are under way where the bytes ahead allow it; one connection to a bucket
# gives some 60 MB a second, so that this many give 1 GB.
_UNDER_WAY: Final = 16
# Further reads of a member whose checksum differs: a bit may have flipped on the way.
_REREADS: Final = 2
_KEYS_SHOWN: Final = 3

# Function from visit, part and size of a member to the memory that takes its last bytes, if any.
FindDestination: TypeAlias = Callable[[int, str, int], Bytes | None]


def plan_bucket(
    index: Index, visits: Sequence[Visit], options: StreamOptions, *, awaited: bool
) -> list[Job]:
    """Plans the reads of a batch from a bucket.

    Args:
        index: Index of the shards.
        visits: Samples and their members.
        options: Numbers of threads, of requests and of batches ahead.
        awaited: Whether training waits for the batch already. It is then read by as many requests
            as there may be, since those of the batches behind it share the network with them.
    """
    if awaited:
        return plan(index, visits, _GAP_BUCKET, options.requests, small=True)
    # As many as keep requests and decoding threads busy.
    jobs = -(-max(_UNDER_WAY, 2 * options.decoders) // (options.ahead + 1))
    return plan(index, visits, _GAP_BUCKET, jobs)


class Wanted(NamedTuple):
    """Job of which the cache may have had a part.

    Attributes:
        job: Members to read.
        cached: Bytes of those that the cache had, by number.
        spans: Byte ranges of the others.
        traffic: Counts to add to.
    """

    job: Job
    cached: Mapping[int, Bytes]
    spans: Sequence[Span]
    traffic: Traffic


class MemberReader:
    """Reads the members of jobs; threads may share it. Close it when done.

    Args:
        dataset: Shards to read.
        options: Requests at once and retries, for a bucket.
        cache: Local store of the members that a bucket gave, if there is one.
    """

    def __init__(
        self, dataset: ShardedDataset, options: StreamOptions, cache: Cache | None = None
    ) -> None:
        store = dataset.store
        self._dataset, self._options, self._cache = dataset, options, cache
        self._local = isinstance(store, LocalStore)
        self._bucket = BucketReader(store, options) if isinstance(store, BucketStore) else None
        # The very class, since a subclass may do more in `read`, which this way would pass by.
        self._disk = LocalReader(store) if type(store) is LocalStore else None

    def plan(self, visits: Sequence[Visit], *, awaited: bool) -> list[Job]:
        """Plans the reads of a batch.

        Args:
            visits: Samples and their members.
            awaited: Whether training waits for the batch already.
        """
        if self._local:
            return plan(self._dataset.index, visits, _GAP_LOCAL)
        return plan_bucket(self._dataset.index, visits, self._options, awaited=awaited)

    def close(self) -> None:
        """Cancels the reads that are under way; threads that wait for one get a StoreError."""
        if self._bucket is not None:
            self._bucket.close()

    def read(
        self,
        job: Job,
        traffic: Traffic,
        find_destination: FindDestination = lambda *_: None,
    ) -> Iterator[tuple[Piece, Bytes | None]]:
        """Returns each member of the job with its bytes, or None where they are damaged.

        From a bucket all is read before the first is returned. From a local disk each is read
        when it is asked for, the last bytes straight to their destination; then the bytes that are
        returned end where those begin.

        Args:
            job: Members to read.
            traffic: Counts to add to.
            find_destination: Function that returns the memory for the last bytes of a member.

        Raises:
            StoreError: The store cannot be read; names the shard and samples.
        """
        if self._disk is not None:
            return self._read_disk(self._disk, job, traffic, find_destination)
        wanted = self.look_up(job, traffic)
        if self._bucket is not None:
            [arrival] = self.begin([wanted])
            return self.receive(wanted, arrival)
        return self._members(wanted, self._read_store(job.shard, wanted.spans, traffic))

    @property
    def reads_ahead(self) -> bool:
        """Whether `begin` may be used: reads wait for a bucket, without a thread each."""
        return self._bucket is not None

    @property
    def has_cache(self) -> bool:
        """Whether `look_up` reads from a disk."""
        return self._cache is not None

    def look_up(self, job: Job, traffic: Traffic) -> Wanted:
        """Takes from the cache the members of a job that are there.

        Args:
            job: Members to read.
            traffic: Counts to add to.
        """
        cached = self._read_cache(job, traffic)
        spans: Sequence[Span] = job.spans
        if cached:
            rest = [piece for piece in job.pieces if piece.number not in cached]
            gap = _GAP_LOCAL if self._local else _GAP_BUCKET
            spans = spans_of(self._dataset.index, rest, gap) if rest else []
        return Wanted(job, cached, spans, traffic)

    def begin(self, jobs: Sequence[Wanted]) -> list[Future[list[Bytes]]]:
        """Begins to read from a bucket; `receive` takes what the futures hold.

        Args:
            jobs: Jobs, none of which waits for another.
        """
        if self._bucket is None:
            raise TypeError(f"{self._dataset.store.url} is no bucket")
        orders = [
            Order(job.shard, [(span.begin, span.end) for span in spans], traffic)
            for job, _, spans, traffic in jobs
        ]
        return self._bucket.begin(orders)

    def receive(
        self, wanted: Wanted, arrival: Future[list[Bytes]]
    ) -> Iterator[tuple[Piece, Bytes | None]]:
        """Returns each member of a job that `begin` has read, see `read`.

        Args:
            wanted: Job that was begun.
            arrival: Bytes of its spans.

        Raises:
            StoreError: The bucket cannot be read; names the shard and samples.
        """
        try:
            return self._members(wanted, arrival.result())
        except StoreError as error:
            raise self._store_error(error, wanted.spans) from error

    def _members(
        self, wanted: Wanted, arrived: Sequence[Bytes]
    ) -> Iterator[tuple[Piece, Bytes | None]]:
        job, cached, spans, traffic = wanted
        for piece in job.pieces if cached else ():
            if piece.number in cached:
                yield piece, cached[piece.number]
        for span, data in zip(spans, arrived, strict=True):
            for piece, own in _split_span(span, data):
                sound = own if own is not None else self._read_again(job.shard, piece, traffic)
                if self._cache is not None and sound is not None:
                    self._cache.put(piece.number, sound)
                yield piece, sound
            if self._cache is not None:
                self._cache_gaps(self._cache, span, data)

    def _read_disk(
        self, disk: LocalReader, job: Job, traffic: Traffic, find_destination: FindDestination
    ) -> Iterator[tuple[Piece, Bytes | None]]:
        for span in job.spans:
            begin, pieces = span.begin, span.pieces
            memories = _destinations(pieces, find_destination)
            elsewhere = [
                (piece.end - len(memory), memory)
                for piece, memory in zip(pieces, memories, strict=True)
                if memory is not None
            ]
            traffic.requests += 1
            traffic.bytes += span.end - begin
            data = disk.read(job.shard, begin, span.end, elsewhere)
            for piece, memory in zip(pieces, memories, strict=True):
                if memory is None:
                    own = data[piece.begin - begin : piece.end - begin]
                    crc = crc32c(own)
                else:
                    own = data[piece.begin - begin : piece.end - len(memory) - begin]
                    crc = crc32c(memory, crc32c(own))
                yield piece, own if crc == piece.crc else None

    def _cache_gaps(self, cache: Cache, span: Span, data: Bytes) -> None:
        """Caches the members between the wanted ones: the next epoch may show them."""
        index = self._dataset.index
        for piece, following in pairwise(span.pieces):
            begin = piece.end - span.begin
            for number in range(piece.number + 1, following.number):
                begin = padded_size(span.begin + begin) + BLOCK - span.begin
                end = begin + int(index.size[number])
                if crc32c(data[begin:end]) == index.crc[number]:
                    cache.put(number, data[begin:end])
                begin = end

    def _read_cache(self, job: Job, traffic: Traffic) -> dict[int, Bytes]:
        """Returns the job's members that the cache has, by number."""
        if self._cache is None:
            return {}
        looked_up = {piece.number: self._cache.get(piece.number) for piece in job.pieces}
        cached = {number: data for number, data in looked_up.items() if data is not None}
        traffic.cache_hits += len(cached)
        traffic.cache_bytes += sum(len(data) for data in cached.values())
        return cached

    def _read_store(self, shard: str, spans: Sequence[Span], traffic: Traffic) -> list[Bytes]:
        ranges = [(span.begin, span.end) for span in spans]
        if self._bucket is None:
            traffic.requests += len(spans)
            traffic.bytes += sum(end - begin for begin, end in ranges)
            return read_ranges(self._dataset.store, shard, ranges)
        try:
            return self._bucket.read(shard, ranges, traffic)
        except StoreError as error:
            raise self._store_error(error, spans) from error

    def _store_error(self, error: StoreError, spans: Sequence[Span]) -> StoreError:
        samples = (piece.sample for span in spans for piece in span.pieces)
        return StoreError(f"{error} (wanted for {self._describe(samples)})")

    def _read_again(self, shard: str, piece: Piece, traffic: Traffic) -> Bytes | None:
        """Reads a damaged member anew; returns None if it stays damaged, for then the store is."""
        for _ in range(_REREADS):
            traffic.retries += 1
            span = Span(piece.begin, piece.end, [piece])
            [data] = self._read_store(shard, [span], traffic)
            [(_, own)] = _split_span(span, data)
            if own is not None:
                return own
        return None

    def _describe(self, samples: Iterable[int]) -> str:
        keys = [self._dataset.key(sample) for sample in dict.fromkeys(samples)]
        more = f" and {len(keys) - _KEYS_SHOWN} more" if len(keys) > _KEYS_SHOWN else ""
        return f"sample {', '.join(keys[:_KEYS_SHOWN])}{more}"


def _split_span(span: Span, data: Bytes) -> Iterator[tuple[Piece, Bytes | None]]:
    """Yields each member of a span with its bytes, or None where its checksum differs."""
    for piece in span.pieces:
        own = data[piece.begin - span.begin : piece.end - span.begin]
        yield piece, own if crc32c(own) == piece.crc else None


def _destinations(pieces: Sequence[Piece], find_destination: FindDestination) -> list[Bytes | None]:
    """Finds the memory that takes the last bytes of each member."""
    # A member that several visits want is read once and copied to each of their rows.
    if len(pieces) > 1 and len({piece.number for piece in pieces}) < len(pieces):
        return [None] * len(pieces)
    return [find_destination(piece.visit, piece.part, piece.end - piece.begin) for piece in pieces]
