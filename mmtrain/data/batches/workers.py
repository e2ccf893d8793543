"""The threads that read and decode for one pass over an order."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Self

import cv2

from mmprep.storage.store import LocalStore
from mmtrain.data.batches.buffer import Slab
from mmtrain.data.dataset import ShardedDataset
from mmtrain.data.reading.cache import Cache
from mmtrain.data.reading.members import Arrivals
from mmtrain.data.reading.options import Loading
from mmtrain.data.reading.plan import Job, Piece, Want, member_name, plan
from mmtrain.data.reading.traffic import Traffic
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
        self._decoding: AbstractContextManager[object] = (
            nullcontext() if local else threading.BoundedSemaphore(loading.decoders)
        )
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
            self._do(slab, job, traffic)
        return traffic

    def _do(self, slab: Slab, job: Job, traffic: Traffic) -> None:
        size = self._dataset.sizes[job.shard]
        for span in job.spans:
            if not 0 <= span.begin <= span.end <= size:
                key = self._dataset.key(span.pieces[0].sample)
                raise DataError(
                    f"{self._dataset.store.url}/{job.shard}: the index points outside it, near "
                    f"sample {key!r}; run `mmprep verify`"
                )
        failed: dict[int, tuple[int, DataError]] = {}
        arriving = self._arrivals.of(job, traffic, slab.room)
        with self._decoding:
            for piece, data in arriving:
                try:
                    if data is None:
                        raise DataError("does not fit its checksum")
                    slab.decode(piece.visit, piece.part, piece.place, data)
                except DataError as error:
                    failed.setdefault(piece.visit, (piece.sample, self._located(job, piece, error)))
        for row, (sample, reason) in failed.items():
            self._give_up(slab, row, sample, reason)

    def _located(self, job: Job, piece: Piece, error: DataError) -> DataError:
        return DataError(
            f"{self._dataset.store.url}/{job.shard}: sample {self._dataset.key(piece.sample)!r}: "
            f"{member_name(self._dataset.index, piece)} {error}; run `mmprep verify`, or leave "
            "damaged samples out"
        )

    def _give_up(self, slab: Slab, row: int, sample: int, error: DataError) -> None:
        if not self._skip:
            raise error
        key = self._dataset.key(sample)
        if key not in self._skipped:
            log.warning("skipped: %s", error)
        self._skipped[key] = str(error)
        slab.give_up(row)
