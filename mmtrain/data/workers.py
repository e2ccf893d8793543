"""The threads that read and decode for one pass over an order."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Self

import cv2

from mmprep.store import LocalStore
from mmtrain.data.arrivals import Arrivals
from mmtrain.data.cache import Cache
from mmtrain.data.dataset import ShardedDataset
from mmtrain.data.fetch import Bytes
from mmtrain.data.loading import Loading
from mmtrain.data.reads import Job, Piece, Want, member_name, plan
from mmtrain.data.slab import Slab
from mmtrain.data.traffic import Traffic
from mmtrain.errors import DataError

log = logging.getLogger(__name__)

_LOCAL_JOBS: Final = 4


class Workers:
    """Fills slabs. ``with Workers(...) as workers:`` stops the threads at its end.

    Args:
        dataset: The shards.
        loading: How many threads.
        skipped: Where samples that are skipped are noted, with the reason.
        cache: What keeps the members that a bucket gave.
    """

    def __init__(
        self,
        dataset: ShardedDataset,
        loading: Loading,
        skipped: dict[str, str],
        cache: Cache | None = None,
    ) -> None:
        # The pictures are small and the threads many; OpenCV's own would only get in the way.
        cv2.setNumThreads(1)
        local = isinstance(dataset.store, LocalStore)
        threads = loading.decoders if local else max(loading.decoders, loading.requests)
        self._dataset, self._skip, self._skipped = dataset, loading.skip_damaged, skipped
        # Waking a thread costs something; waiting for a bucket in turn costs more.
        self._jobs = _LOCAL_JOBS if local else 1
        self._arrivals = Arrivals(dataset, loading, cache)
        # Many threads wait for a bucket at once, but no more than asked for decode.
        self._decoding = threading.BoundedSemaphore(loading.decoders)
        self._pool = ThreadPoolExecutor(threads, "mmtrain-stream")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        # Who waits for a bucket stops waiting.
        self._arrivals.close()
        self._pool.shutdown(wait=True)

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
        jobs = plan(index, wants, self._arrivals.gap)
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
        traffic = Traffic()
        failed: dict[int, tuple[int, DataError]] = {}
        arriving = self._arrivals.of(job, traffic)
        with self._decoding:
            for piece, data in arriving:
                try:
                    self._decode(slab, piece, data)
                except DataError as error:
                    failed.setdefault(piece.visit, (piece.sample, error))
        for row, (sample, reason) in failed.items():
            self._give_up(slab, row, sample, self._located(job.shard, sample, reason))
        return traffic

    def _decode(self, slab: Slab, piece: Piece, data: Bytes | None) -> None:
        try:
            if data is None:
                raise DataError("does not fit its checksum")
            slab.decode(piece.visit, piece.part, piece.place, data)
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
