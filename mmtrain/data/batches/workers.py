"""The threads that read and decode during one pass over an order."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Final, Self
from weakref import WeakSet

import cv2

from mmprep.storage.store import BucketStore, LocalStore
from mmtrain.data.batches.buffer import BatchBuffer
from mmtrain.data.dataset import ShardedDataset
from mmtrain.data.reading.cache import Cache
from mmtrain.data.reading.local import Bytes
from mmtrain.data.reading.members import MemberReader, Wanted
from mmtrain.data.reading.options import StreamOptions
from mmtrain.data.reading.plan import Job, Piece, Visit, member_name
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


class _Filling:
    """Batch that is being filled, by as many calls of `add` as `expect` was told of."""

    def __init__(self) -> None:
        self.done: Future[Traffic] = Future()
        self._lock, self._left, self._traffic = threading.Lock(), 0, Traffic()

    def expect(self, count: int) -> None:
        self._left = count
        if not count:
            self.done.set_result(self._traffic)

    def add(self, traffic: Traffic) -> None:
        with self._lock:
            self._traffic.add(traffic)
            self._left -= 1
            if not self._left and not self.done.done():
                self.done.set_result(self._traffic)

    def fail(self, error: BaseException) -> None:
        with self._lock:
            if not self.done.done():
                self.done.set_exception(error)


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
        # A bucket is waited for without threads; any other store takes one for each read.
        threadless = isinstance(dataset.store, (LocalStore, BucketStore))
        threads = options.decoders if threadless else max(options.decoders, options.requests)
        self._dataset, self._skip, self._skipped = dataset, options.skip_damaged, skipped
        # One at a time from other stores, so that jobs wait side by side and not in turn.
        self._jobs_at_once = _LOCAL_JOBS if isinstance(dataset.store, LocalStore) else 1
        self._reader = MemberReader(dataset, options, cache)
        # Many threads may wait for a store at once, but no more than asked for may decode.
        self._decoding: AbstractContextManager[object] = (
            nullcontext() if threadless else threading.BoundedSemaphore(options.decoders)
        )
        self._is_first = True
        self._pid, self._threads = os.getpid(), list[int]()
        self._pool = ThreadPoolExecutor(threads, "mmtrain-stream", self._note_thread)
        # Of its own, so that the reads of the next batch begin before this one is decoded.
        self._planner = ThreadPoolExecutor(1, "mmtrain-plan", self._note_thread)

    def __enter__(self) -> Self:
        _open.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._planner.shutdown(wait=True, cancel_futures=True)
        # Twice: a thread that reads damaged bytes again ends only when its read is cancelled.
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

        The futures raise DataError where a sample has no members of a part that it shows, or its
        bytes are damaged, and none may be skipped.
        """
        filling = _Filling()
        self._planner.submit(self._plan, buffer, samples, filling, self._is_first)
        self._is_first = False
        return [filling.done]

    def _plan(
        self, buffer: BatchBuffer, samples: Sequence[int], filling: _Filling, awaited: bool
    ) -> None:
        """Plans the reads of a batch and begins them."""
        try:
            reader = self._reader
            visits = self._visits(buffer, samples)
            jobs = reader.plan(visits, awaited=awaited)
            at_once = self._jobs_at_once
            filling.expect(-(-len(jobs) // at_once))
            if reader.reads_ahead and not reader.has_cache:
                self._begin(buffer, jobs, filling)
                return
            for i in range(0, len(jobs), at_once):
                some = jobs[i : i + at_once]
                if reader.reads_ahead:
                    self._pool.submit(self._begin, buffer, some, filling)
                else:
                    self._submit(filling, self._run_jobs, buffer, some)
        except Exception as error:
            filling.fail(error)

    def _visits(self, buffer: BatchBuffer, samples: Sequence[int]) -> list[Visit]:
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
        return visits

    def _submit(self, filling: _Filling, work: Callable[..., Traffic], *of: object) -> None:
        def run() -> None:
            try:
                filling.add(work(*of))
            except BaseException as error:
                filling.fail(error)

        # A read that ends because all is being closed is decoded by nobody.
        with suppress(RuntimeError):
            self._pool.submit(run)

    def _begin(self, buffer: BatchBuffer, jobs: Sequence[Job], filling: _Filling) -> None:
        """Begins the reads of jobs from a bucket; what arrives is decoded as it comes."""
        try:
            for job in jobs:
                self._check_spans(job)
            wanted = [self._reader.look_up(job, Traffic()) for job in jobs]
            for each, arrival in zip(wanted, self._reader.begin(wanted), strict=True):
                arrival.add_done_callback(
                    partial(self._submit, filling, self._decode_arrived, buffer, each)
                )
        except Exception as error:
            filling.fail(error)

    def _decode_arrived(
        self, buffer: BatchBuffer, wanted: Wanted, arrival: Future[list[Bytes]]
    ) -> Traffic:
        self._decode(buffer, wanted.job, self._reader.receive(wanted, arrival))
        return wanted.traffic

    def _run_jobs(self, buffer: BatchBuffer, jobs: Sequence[Job]) -> Traffic:
        traffic = Traffic()
        for job in jobs:
            self._check_spans(job)
            members = self._reader.read(job, traffic, buffer.destination)
            with self._decoding:
                self._decode(buffer, job, members)
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

    def _decode(
        self, buffer: BatchBuffer, job: Job, members: Iterable[tuple[Piece, Bytes | None]]
    ) -> None:
        failures: dict[int, tuple[int, DataError]] = {}
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
