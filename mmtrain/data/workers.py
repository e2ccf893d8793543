"""The threads that read and decode for one pass over an order."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Self

import cv2
import google_crc32c

from mmprep.store import LocalStore
from mmtrain.data.dataset import ShardedDataset
from mmtrain.data.fetch import Bytes, fetcher
from mmtrain.data.loading import Loading
from mmtrain.data.reads import Job, Piece, Want, member_name, plan
from mmtrain.data.slab import Slab
from mmtrain.errors import DataError

log = logging.getLogger(__name__)

# Bytes that are read for nothing rather than asked for separately; a bucket answers slowly.
_GAP_LOCAL: Final = 4 << 10
_GAP_BUCKET: Final = 64 << 10
_LOCAL_JOBS: Final = 4


@dataclass
class Traffic:
    """What was read from the store."""

    requests: int = 0
    bytes: int = 0

    def add(self, other: "Traffic") -> None:
        """Adds up."""
        self.requests += other.requests
        self.bytes += other.bytes


class Workers:
    """Fills slabs. ``with Workers(...) as workers:`` stops the threads at its end.

    Args:
        dataset: The shards.
        loading: How many threads.
        skipped: Where samples that are skipped are noted, with the reason.
    """

    def __init__(self, dataset: ShardedDataset, loading: Loading, skipped: dict[str, str]) -> None:
        # The pictures are small and the threads many; OpenCV's own would only get in the way.
        cv2.setNumThreads(1)
        local = isinstance(dataset.store, LocalStore)
        threads = loading.decoders if local else max(loading.decoders, loading.requests)
        self._dataset, self._skip, self._skipped = dataset, loading.skip_damaged, skipped
        self._gap = _GAP_LOCAL if local else _GAP_BUCKET
        # Waking a thread costs something; waiting for a bucket in turn costs more.
        self._jobs = _LOCAL_JOBS if local else 1
        self._fetch = fetcher(dataset.store)
        # Many threads wait for a bucket at once, but no more than asked for decode.
        self._decoding = threading.BoundedSemaphore(loading.decoders)
        self._pool = ThreadPoolExecutor(threads, "mmtrain-stream")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def fill(self, slab: Slab, samples: Sequence[int]) -> list[Future[Traffic]]:
        """Starts to fill the rows of ``slab``, which is whole when all futures are done.

        Raises:
            DataError: A sample has nothing of a part that it shows, and none may be skipped; from
                the futures, damaged bytes.
        """
        index = self._dataset.index
        wants = []
        for row, sample in enumerate(samples):
            counts = dict(zip(index.parts, index.counts[sample].tolist(), strict=True))
            try:
                wants.append(Want(sample, slab.members(row, counts)))
            except DataError as error:
                shard, key = index.shards[index.shard[sample]], self._dataset.key(sample)
                place = f"{self._dataset.store.url}/{shard}: sample {key!r}"
                self._give_up(slab, row, sample, DataError(f"{place} {error}"))
                wants.append(Want(sample, {}))
        jobs = plan(index, wants, self._gap)
        return [
            self._pool.submit(self._work, slab, jobs[i : i + self._jobs])
            for i in range(0, len(jobs), self._jobs)
        ]

    def _work(self, slab: Slab, jobs: Sequence[Job]) -> Traffic:
        traffic = Traffic()
        for job in jobs:
            traffic.add(self._do(slab, job))
        return traffic

    def _do(self, slab: Slab, job: Job) -> Traffic:
        size = self._dataset.sizes[job.shard]
        if any(not 0 <= span.begin <= span.end <= size for span in job.spans):
            key = self._dataset.key(next(job.pieces).sample)
            raise DataError(
                f"{self._dataset.store.url}/{job.shard}: the index points outside it, near sample "
                f"{key!r}; run `mmprep verify`"
            )
        found = self._fetch(job.shard, [(span.begin, span.end) for span in job.spans])
        failed: dict[int, tuple[int, DataError]] = {}
        with self._decoding:
            for span, data in zip(job.spans, found, strict=True):
                for piece in span.pieces:
                    own = data[piece.begin - span.begin : piece.end - span.begin]
                    try:
                        self._decode(slab, piece, own)
                    except DataError as error:
                        failed.setdefault(piece.visit, (piece.sample, error))
        for row, (sample, reason) in failed.items():
            self._give_up(slab, row, sample, self._located(job.shard, sample, reason))
        return Traffic(len(job.spans), job.bytes)

    def _decode(self, slab: Slab, piece: Piece, found: Bytes) -> None:
        try:
            # `crc32c` of mmprep.format wants bytes; this spares a copy of every member.
            if google_crc32c.value(found) != piece.crc:
                raise DataError("does not fit its checksum")
            slab.decode(piece.visit, piece.part, piece.place, found)
        except DataError as error:
            raise DataError(f"{member_name(self._dataset.index, piece)} {error}") from error

    def _located(self, shard: str, sample: int, error: DataError) -> DataError:
        return DataError(
            f"{self._dataset.store.url}/{shard}: sample {self._dataset.key(sample)!r}: {error}; "
            "run `mmprep verify`, or leave damaged samples out"
        )

    def _give_up(self, slab: Slab, row: int, sample: int, error: DataError) -> None:
        if not self._skip:
            raise error
        key = self._dataset.key(sample)
        if key not in self._skipped:
            log.warning("skipped: %s", error)
        self._skipped[key] = str(error)
        slab.give_up(row)
