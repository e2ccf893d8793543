"""The decoding process: takes rows from a socket and answers with samples or failures.

Decoders are C code that reads hostile input. They run in this process so that a crash or a hang
costs one clip: the parent (see `mmprep.clips.pool`) watches the clock, kills the process and starts
another.

The parent runs it as ``python -m mmprep.clips.worker FD``; the first message is the `Job`. Before
it answers a row, the process sends each `Voice` that it is about to decode, and None behind it.
"""

import ctypes
import signal
import sys
from multiprocessing.connection import Connection

import av

from mmprep.clips.job import Job
from mmprep.clips.outcome import Outcome
from mmprep.clips.sample import SampleMaker
from mmprep.errors import StoreError
from mmprep.failure import ClipError, Failure
from mmprep.manifest import Row


def main() -> None:
    """Answers rows until the parent closes the socket."""
    # The parent handles Ctrl-C. The worker must not outlive it: nobody would take its samples.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    _keep_freed_memory()
    av.logging.set_level(None)
    connection = Connection(int(sys.argv[1]))
    job: Job = connection.recv()
    maker = SampleMaker(job.raw, job.config, job.decoder, job.raw_access, announce=connection.send)
    connection.send("ready")
    while True:
        try:
            row: Row = connection.recv()
        except (EOFError, ConnectionError):
            return
        connection.send(answer(maker, row))


def answer(maker: SampleMaker, row: Row) -> Outcome | StoreError:
    """Returns the sample of ``row`` or the failure; an unforeseen error is a failure as well."""
    try:
        return maker.make(row)
    except StoreError as error:
        # No fault of the clip, so no failure of it: the build stops, and a later run continues.
        return StoreError(str(error))
    except ClipError as error:
        stage, cause, message = error.stage, error.cause, error.message
    except av.FFmpegError as error:
        stage, cause, message = "video", "corrupt", f"does not decode ({error.strerror})"
    except Exception as error:
        stage, cause, message = "parts", "unexpected", f"{type(error).__name__}: {error}"
    return Failure.of(row, row.source, stage, cause, message)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _keep_freed_memory() -> None:
    """Lets the allocator keep large blocks from one clip to the next, which saves 6 % of the time.

    By default glibc returns each picture's memory, and the kernel clears it again for the next.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3
    libc = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(libc, "mallopt"):
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, 1 << 29)


if __name__ == "__main__":
    main()
