"""A pool of decoding processes with a time limit, so that a hang or a crash costs one clip."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Final, Self

from mmprep.clips.decode.bounds import MAX_PIXELS
from mmprep.clips.job import Job
from mmprep.clips.outcome import Outcome, Sample
from mmprep.errors import MmprepError, StoreError
from mmprep.failure import Failure
from mmprep.manifest import Row, Voice

# Seconds within which a decoding process must start. A first import of librosa compiles for minutes
# where the machine is busy; a process that has died is seen at once.
_START_S: Final = 1800.0


class DecoderPool:
    """Turns rows into samples in ``workers`` processes.

    Example:
        with DecoderPool(job, workers=2) as pool:
            outcome = pool.submit(row).result()
    """

    def __init__(self, job: Job, workers: int) -> None:
        self._queue: queue.SimpleQueue[tuple[Row, Future[Outcome]] | None] = queue.SimpleQueue()
        self._turns = _Turns()
        self._slots = [_Slot(job, self._queue, self._turns) for _ in range(workers)]
        self._closed = False
        self._lock = threading.Lock()

    def submit(self, row: Row) -> Future[Outcome]:
        """Queues ``row``.

        Returns:
            A future of the sample or the failure. It raises `StoreError` if the bucket with the
            clips refuses, and any other error only for a bug.

        Raises:
            MmprepError: The pool was closed.
        """
        future: Future[Outcome] = Future()
        with self._lock:
            # A row behind the slots' end marks would never be answered.
            if self._closed:
                raise MmprepError("stopped")
            self._queue.put((row, future))
        return future

    def __enter__(self) -> Self:
        for slot in self._slots:
            slot.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._closed = True
            for _ in self._slots:
                self._queue.put(None)
        for slot in self._slots:
            if kind is not None:
                slot.kill()
        if kind is not None:
            self._turns.stop()
        for slot in self._slots:
            slot.join()


class _Turns:
    """Lets clips be decoded side by side, or one alone while the others wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy = 0
        self._waiting = 0
        self._stopped = False

    @contextmanager
    def side_by_side(self) -> Iterator[None]:
        """Runs a block beside others of its kind, once none wants to be alone."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not self._waiting)
            self._busy += 1
        with self._leaving():
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Runs a block once all others have ended."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: self._stopped or not self._busy)
            self._busy += 1
        try:
            with self._leaving():
                yield
        finally:
            with self._changed:
                self._waiting -= 1
                self._changed.notify_all()

    def stop(self) -> None:
        """Ends all waiting, since the pool is left."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @contextmanager
    def _leaving(self) -> Iterator[None]:
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()


class _Died(Exception):
    """Raised if a decoding process ended and the pool did not end it.

    Args:
        code: Exit code, negative for a signal.
        voice: Clip of the babble that it decoded; None if it was the sample's own.
    """

    def __init__(self, code: int, voice: Voice | None) -> None:
        super().__init__(code, voice)
        self.code, self.voice = code, voice

    @property
    def killed(self) -> bool:
        """Whether somebody else killed it, say the kernel for lack of memory."""
        return self.code == -signal.SIGKILL


class _Slot(threading.Thread):
    """A thread of the pool that keeps one decoding process alive and sends it rows."""

    def __init__(
        self,
        job: Job,
        rows: "queue.SimpleQueue[tuple[Row, Future[Outcome]] | None]",
        turns: _Turns,
    ) -> None:
        super().__init__(daemon=True)
        self._turns = turns
        self._job = job
        self._rows = rows
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._stopped = False

    def run(self) -> None:
        while (item := self._rows.get()) is not None:
            row, future = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                outcome = self._ask(row)
                # A process that was killed to stop the build is no fault of its clip.
                if self._stopped:
                    raise MmprepError("stopped")
                future.set_result(outcome)
            except BaseException as error:
                future.set_exception(error)
        self._stop()

    def kill(self) -> None:
        """Ends the process now; the thread follows."""
        self._stopped = True
        # Read once: the slot's own thread may set it to None at any moment.
        process = self._process
        if process is not None:
            process.kill()

    def _ask(self, row: Row) -> Outcome:
        while True:
            try:
                return self._try_twice(row)
            except _Died as death:
                if death.voice is None:
                    return _failure_of(row, death)
                # As any other damage, this costs the sample of that clip, not those that hear it:
                # the next of the drawn clips takes its place.
                others = tuple(voice for voice in row.voices if voice != death.voice)
                row = replace(row, voices=others)

    def _try_twice(self, row: Row) -> Outcome:
        try:
            with self._turns.side_by_side():
                return self._try(row)
        except _Died as death:
            if not death.killed:
                raise
        # The kernel kills for lack of memory, perhaps for that of a neighbour. Without neighbours
        # the outcome depends on the clip alone.
        with self._turns.alone():
            return self._try(row)

    def _try(self, row: Row) -> Outcome:
        if self._stopped:
            raise MmprepError("stopped")
        connection = self._ready_connection()
        limit, voice = self._job.limit_s, None
        end = time.monotonic() + limit
        try:
            connection.send(row)
            while connection.poll(max(end - time.monotonic(), 0.0)):
                reply: Outcome | StoreError | Voice | None = connection.recv()
                if isinstance(reply, StoreError):
                    raise reply
                if isinstance(reply, Sample | Failure):
                    return reply
                voice = reply
        except (EOFError, ConnectionError):
            assert self._process is not None
            code = self._process.wait()
            self._stop()
            raise _Died(code, voice) from None
        self._stop()
        message = f"took longer than {limit:g} s (--clip-timeout)"
        if voice is not None:
            message += f", in the end with {voice.source}, a clip of its babble"
        return Failure.of(row, row.source, "decode", "decode-timeout", message)

    def _ready_connection(self) -> Connection:
        if self._connection is not None:
            # A process that died between two clips, say for lack of memory, must not fail the next.
            if self._process is not None and self._process.poll() is None:
                return self._connection
            self._stop()
        try:
            connection, self._process = _start_worker()
        except OSError as error:
            raise MmprepError(f"no decoding process can be started: {error.strerror}") from error
        if self._stopped:
            self._stop()
            raise MmprepError("stopped")
        try:
            connection.send(self._job)
            if connection.poll(_START_S) and connection.recv() == "ready":
                self._connection = connection
                return connection
        except (EOFError, ConnectionError):
            death = _Died(self._process.wait(), None)
            self._stop()
            if death.killed:
                raise death from None
        self._stop()
        raise MmprepError(
            "a decoding process does not start; `python -c 'import mmprep.clips.worker'` shows why"
        )

    def _stop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _failure_of(row: Row, death: _Died) -> Failure:
    """Failure of the clip that ended the decoding process."""
    if death.killed:
        message = "the decoding process died twice: SIGKILL, perhaps for lack of memory"
    else:
        name = signal.Signals(-death.code).name if death.code < 0 else f"exit code {death.code}"
        message = f"the decoding process died: {name}"
    return Failure.of(row, row.source, "decode", "decoder-crash", message)


def _start_worker() -> tuple[Connection, "subprocess.Popen[bytes]"]:
    """Starts a worker; returns this side of its socket, and the process."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            # -P, because `-m` alone would look for modules in the current folder first.
            [sys.executable, "-P", "-m", "mmprep.clips.worker", str(theirs.fileno())],
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                # OpenCV reads its own limit when it is loaded.
                "OPENCV_IO_MAX_IMAGE_PIXELS": str(MAX_PIXELS),
            },
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return Connection(ours.detach()), process
