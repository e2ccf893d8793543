"""Decoding processes under a clock: a hang or a crash costs its clip and nothing else."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Final, Self, TypeAlias

from mmprep.clips.job import Job
from mmprep.clips.sample import Sample
from mmprep.errors import MmprepError, StoreError
from mmprep.failure import Failure
from mmprep.manifest import Row

Outcome: TypeAlias = Sample | Failure

_START_S: Final = 120.0


class DecoderPool:
    """Turns rows into samples in ``workers`` processes.

    Example:
        with DecoderPool(job, workers=2) as pool:
            outcome = pool.submit(row).result()
    """

    def __init__(self, job: Job, workers: int) -> None:
        self._queue: queue.SimpleQueue[tuple[Row, Future[Outcome]] | None] = queue.SimpleQueue()
        self._slots = [_Slot(job, self._queue) for _ in range(workers)]
        self._left = False
        self._lock = threading.Lock()

    def submit(self, row: Row) -> Future[Outcome]:
        """Queues ``row``; the future gives a sample or a failure.

        It raises for a bug, or a `StoreError` where the bucket with the clips refuses.

        Raises:
            MmprepError: The pool was left.
        """
        future: Future[Outcome] = Future()
        with self._lock:
            # Behind the slots' end nobody would ever answer.
            if self._left:
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
            self._left = True
            for _ in self._slots:
                self._queue.put(None)
        for slot in self._slots:
            if kind is not None:
                slot.kill()
        for slot in self._slots:
            slot.join()


class _Slot(threading.Thread):
    """One place in the pool: a thread that keeps a process alive and asks it."""

    def __init__(
        self, job: Job, rows: "queue.SimpleQueue[tuple[Row, Future[Outcome]] | None]"
    ) -> None:
        super().__init__(daemon=True)
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
                # A process that was killed to stop the build says nothing about its clip.
                if self._stopped:
                    raise MmprepError("stopped")
                future.set_result(outcome)
            except BaseException as error:
                future.set_exception(error)
        self._stop()

    def kill(self) -> None:
        """Ends the process now; the thread follows."""
        self._stopped = True
        # Another thread may let go of it between a look and a call.
        process = self._process
        if process is not None:
            process.kill()

    def _ask(self, row: Row) -> Outcome:
        if self._stopped:
            raise MmprepError("stopped")
        connection = self._ready()
        limit = self._job.clip_timeout_s
        try:
            connection.send(row)
            if connection.poll(limit):
                outcome: Outcome | StoreError = connection.recv()
                if isinstance(outcome, StoreError):
                    raise outcome
                return outcome
            cause, message = "decode-timeout", f"took longer than {limit:g} s (--clip-timeout)"
        except (EOFError, ConnectionError):
            cause, message = "decoder-crash", f"the decoding process died: {self._how_it_died()}"
        self._stop()
        return Failure.of(row, row.source, "decode", cause, message)

    def _ready(self) -> Connection:
        if self._connection is not None:
            # One that died between two clips, for lack of memory say, is not the next one's fault.
            if self._process is not None and self._process.poll() is None:
                return self._connection
            self._stop()
        try:
            connection, self._process = _started()
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
            pass
        self._stop()
        raise MmprepError(
            "a decoding process does not start; `python -c 'import mmprep.clips.worker'` shows why"
        )

    def _how_it_died(self) -> str:
        assert self._process is not None
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return "SIGKILL, perhaps for lack of memory"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _stop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _started() -> tuple[Connection, "subprocess.Popen[bytes]"]:
    """A new worker, and this side of its socket."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            # -P: `-m` would look for modules in the user's folder first.
            [sys.executable, "-P", "-m", "mmprep.clips.worker", str(theirs.fileno())],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return Connection(ours.detach()), process
