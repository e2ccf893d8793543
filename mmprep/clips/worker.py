"""A process that decodes: it takes rows from a socket and answers with samples or failures.

Decoders are C code on hostile input. They run here so that a crash or a hang costs one clip: the
parent (see `mmprep.clips.pool`) watches the clock, kills this process and starts another.

Run as ``python -m mmprep.clips.worker FD``; the first message is the `Job`.
"""

import ctypes
import signal
import sys
from multiprocessing.connection import Connection

import av

from mmprep.clips.job import Job
from mmprep.clips.sample import Sample, SampleMaker
from mmprep.errors import StoreError
from mmprep.failure import ClipError, Failure
from mmprep.manifest import Row


def main() -> None:
    """Serves until the parent closes the socket."""
    # The parent decides what Ctrl-C means; a worker that outlived it would decode for nobody.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    _keep_freed_memory()
    av.logging.set_level(None)
    connection = Connection(int(sys.argv[1]))
    job: Job = connection.recv()
    maker = SampleMaker(job.raw, job.config, job.decoder, job.endpoint)
    connection.send("ready")
    while True:
        try:
            row: Row = connection.recv()
        except (EOFError, ConnectionError):
            return
        connection.send(answer(maker, row))


def answer(maker: SampleMaker, row: Row) -> Sample | Failure | StoreError:
    """The sample of ``row``, or why there is none; an error that nobody foresaw is a cause too."""
    try:
        return maker.make(row)
    except StoreError as error:
        # No fault of the clip: the build stops here and goes on when the bucket does.
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
    """Lets the allocator keep the big blocks of one clip for the next: 6 % less time a clip.

    By default glibc gives each picture's memory back, and the kernel clears it anew for the next.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3
    libc = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(libc, "mallopt"):
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, 1 << 29)


if __name__ == "__main__":
    main()
