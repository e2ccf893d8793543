"""Progress over all runs that an engine carries out, as their folders show it."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mmprep.printable import counted
from mmtrain.comparison.engines import Job
from mmtrain.training.run import METRICS
from mmtrain.training.train import RESULT

log = logging.getLogger(__name__)

# Seconds between two lines, where no run ends in between.
_EVERY_S: Final = 30.0


class Progress:
    """Counts of runs and epochs.

    Args:
        jobs: Runs that are not finished.

    Attributes:
        failed: Folders of the runs that failed.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self.failed: set[Path] = set()
        self._began, self._before = time.monotonic(), sum(map(epochs_done, jobs))

    def line(self) -> str:
        """The counts, and the time that is left at the pace so far, in words."""
        done = sum((job.folder / RESULT).exists() for job in self._jobs)
        going = [job for job in self._jobs if job.folder not in self.failed]
        epochs, planned = sum(map(epochs_done, going)), sum(job.config.epochs for job in going)
        texts = [f"{done} of {counted(len(self._jobs), 'run')} done"]
        if self.failed:
            texts.append(f"{len(self.failed)} failed")
        texts.append(f"{epochs} of {counted(planned, 'epoch')}")
        gained = epochs - self._before
        if gained > 0 and epochs < planned:
            seconds = (planned - epochs) * (time.monotonic() - self._began) / gained
            texts.append(f"about {_time(seconds)} left")
        return ", ".join(texts)


@contextmanager
def reporting(progress: Progress) -> Iterator[None]:
    """Logs a line of ``progress`` now and then, from a thread of its own."""
    over = threading.Event()

    def report() -> None:
        last = ""
        while not over.wait(_EVERY_S):
            if (line := progress.line()) != last:
                log.info("%s", line)
            last = line

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def epochs_done(job: Job) -> int:
    """Number of epochs that a run has behind it; all where it is finished."""
    if (job.folder / RESULT).exists():
        return job.config.epochs
    try:
        lines = (job.folder / METRICS).read_bytes().splitlines()
    except OSError:
        return 0
    return sum(b'"trial":' not in line for line in lines)


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
