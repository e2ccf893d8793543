"""The threads that read and decode during one pass over an order."""

import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Self
from weakref import WeakSet

import cv2

from mmprep.storage.store import LocalStore
from mmtrain.data.batches.buffer import BatchBuffer
from mmtrain.data.dataset import ShardedDataset
from mmtrain.data.reading.cache import Cache
from mmtrain.data.reading.members import MemberReader
from mmtrain.data.reading.options import StreamOptions
from mmtrain.data.reading.plan import Job, Piece, Visit, member_name, plan
from mmtrain.data.reading.traffic import Traffic
from mmtrain.errors import ConfigError, DataError

log = logging.getLogger(__name__)

# Jobs that a thread takes at once from a local disk, where waking it costs as much as a small read.
_LOCAL_JOBS: Final = 4
# Pause between two looks at threads that are ending; most have ended at the first.
_EXIT_S: Final = 0.0005
_LONGEST_EXIT_S: Final = 60.0
# Those with threads; a forked process has its parent's too.
_open: "WeakSet[Workers]" = WeakSet()


class Workers:
    """Threads that fill batch buffers; ``with Workers(...) as workers:`` stops them at its end.

    Args:
        dataset: Shards to read.
        options: Numbers of threads and requests, and what becomes of damaged samples.
        skipped: Key of each skipped sample to the reason; written here.
        cache: Local store of the members that a bucket gave, if there is one.
    """

    def __init__(
        self,
        dataset: ShardedDataset,
        options: StreamOptions,
        skipped: dict[str, str],
        cache: Cache | None = None,
    ) -> None:
        # The pictures are small and our threads many; OpenCV's own would only get in the way.
        cv2.setNumThreads(1)
        local = isinstance(dataset.store, LocalStore)
        threads = options.decoders if local else max(options.decoders, options.requests)
        self._dataset, self._skip, self._skipped = dataset, options.skip_damaged, skipped
        # One at a time from a bucket, so that jobs wait for it side by side and not in turn.
        self._jobs_at_once = _LOCAL_JOBS if local else 1
        self._reader = MemberReader(dataset, options, cache)
        # Many threads wait for a bucket at once, but no more than asked for may decode.
        self._decoding: AbstractContextManager[object] = (
            nullcontext() if local else threading.BoundedSemaphore(options.decoders)
        )
        self._pid, self._threads = os.getpid(), list[int]()
        self._pool = ThreadPoolExecutor(threads, "mmtrain-stream", self._note_thread)

    def __enter__(self) -> Self:
        _open.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        # Twice: threads that wait for a bucket end only when their reads are cancelled.
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._reader.close()
        self._pool.shutdown(wait=True)
        # A thread that Python has joined may still hold OpenCV's lock while the system ends it. A
        # process that is forked then would wait for that lock forever, and keep the interpreter.
        end = time.monotonic() + _LONGEST_EXIT_S
        while any(os.path.exists(f"/proc/self/task/{thread}") for thread in self._threads):
            if time.monotonic() > end:
                break
            time.sleep(_EXIT_S)
        _open.discard(self)

    @staticmethod
    def check_fork() -> None:
        """Refuses a process that was forked while its parent's threads decoded.

        Raises:
            ConfigError: They may have held locks, which nobody would release here.
        """
        if any(workers._pid != os.getpid() for workers in _open):
            raise ConfigError(
                "this process was forked while its parent read a stream, whose threads may have "
                "held locks; give the DataLoader multiprocessing_context='forkserver', or end that "
                "iteration first"
            )

    def _note_thread(self) -> None:
        self._threads.append(threading.get_native_id())

    def fill(self, buffer: BatchBuffer, samples: Sequence[int]) -> list[Future[Traffic]]:
        """Starts to fill the rows of ``buffer``, which is whole when all futures are done.

        Args:
            buffer: Memory of the batch.
            samples: Id of each row's sample.

        Raises:
            DataError: A sample has no members of a part that it shows, and none may be skipped;
                from the futures, damaged bytes.
        """
        index = self._dataset.index
        visits = []
        for row, sample in enumerate(samples):
            counts = dict(zip(index.parts, index.counts[sample].tolist(), strict=True))
            try:
                visits.append(Visit(sample, buffer.members(row, counts)))
            except DataError as error:
                shard, key = index.shards[index.shard[sample]], self._dataset.key(sample)
                place = f"{self._dataset.store.url}/{shard}: sample {key!r}"
                self._skip_or_raise(buffer, row, sample, DataError(f"{place} {error}"))
                visits.append(Visit(sample, {}))
        jobs = plan(index, visits, self._reader.gap)
        return [
            self._pool.submit(self._run_jobs, buffer, jobs[i : i + self._jobs_at_once])
            for i in range(0, len(jobs), self._jobs_at_once)
        ]

    def _run_jobs(self, buffer: BatchBuffer, jobs: Sequence[Job]) -> Traffic:
        traffic = Traffic()
        for job in jobs:
            self._check_spans(job)
            self._run_job(buffer, job, traffic)
        return traffic

    def _check_spans(self, job: Job) -> None:
        # Before any memory is taken: a damaged index may ask for petabytes.
        size = self._dataset.sizes[job.shard]
        for span in job.spans:
            if not 0 <= span.begin <= span.end <= size:
                key = self._dataset.key(span.pieces[0].sample)
                raise DataError(
                    f"{self._dataset.store.url}/{job.shard}: the index points outside it, near "
                    f"sample {key!r}; run `mmprep verify`"
                )

    def _run_job(self, buffer: BatchBuffer, job: Job, traffic: Traffic) -> None:
        failures: dict[int, tuple[int, DataError]] = {}
        members = self._reader.read(job, traffic, buffer.destination)
        with self._decoding:
            for piece, data in members:
                try:
                    if data is None:
                        raise DataError("does not fit its checksum")
                    size = piece.end - piece.begin
                    buffer.decode(piece.visit, piece.part, piece.place, data, size)
                except DataError as error:
                    failure = piece.sample, self._error_with_place(job, piece, error)
                    failures.setdefault(piece.visit, failure)
        # Only now, for members of the same row that follow would write into it again.
        for row, (sample, reason) in failures.items():
            self._skip_or_raise(buffer, row, sample, reason)

    def _error_with_place(self, job: Job, piece: Piece, error: DataError) -> DataError:
        return DataError(
            f"{self._dataset.store.url}/{job.shard}: sample {self._dataset.key(piece.sample)!r}: "
            f"{member_name(self._dataset.index, piece)} {error}; run `mmprep verify`, or leave "
            "damaged samples out"
        )

    def _skip_or_raise(self, buffer: BatchBuffer, row: int, sample: int, error: DataError) -> None:
        if not self._skip:
            raise error
        key = self._dataset.key(sample)
        if key not in self._skipped:
            log.warning("skipped: %s", error)
        self._skipped[key] = str(error)
        buffer.clear_row(row)
