"""One run as a task of an engine, in whichever process."""

import fcntl
import logging
import os
import time
from pathlib import Path
from typing import Final

from mmtrain import plugins
from mmtrain.comparison.engines import Job, Outcome
from mmtrain.errors import Interrupted, MmtrainError, RunError
from mmtrain.training.train import train
from mmtrain.training.watch import Watch

log = logging.getLogger(__name__)

# Time for which a run waits for a process that still has its folder, and seconds between two looks.
_WAIT_S: Final = 300.0
_LOOK_S: Final = 0.2


def train_job(job: Job, watch: Watch | None = None) -> Outcome:
    """Trains a run to its end, or goes on with it.

    Raises:
        Interrupted: A signal asked to stop.
    """
    try:
        # Whoever asked for the run has consented to what its config names.
        with plugins.allowing():
            wait_until_free(job.folder)
            train(job.config, job.folder, resume=True, watch=watch)
    except Interrupted:
        raise
    except Exception as error:  # A method that breaks must not cost the others.
        if not isinstance(error, MmtrainError):
            log.error("%s failed", job.folder, exc_info=True)
        return outcome_of(job, error)
    return Outcome(job, None)


def outcome_of(job: Job, error: Exception) -> Outcome:
    """Outcome of a run that an error has ended."""
    message = str(error) if isinstance(error, MmtrainError) else repr(error)
    # What the method or its settings do, it does anywhere: a loss that is not finite, say.
    own = isinstance(error, RunError) or not isinstance(error, (MmtrainError, OSError))
    return Outcome(job, message, lost=not own)


def wait_until_free(folder: Path) -> None:
    """Waits for the process that still trains the run in ``folder``, for some minutes at most.

    After a kill of the command its processes end by themselves, but not at once.
    """
    if not folder.exists():
        return
    end = time.monotonic() + _WAIT_S
    lock = os.open(folder, os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    return  # The run itself says that it cannot begin.
                time.sleep(_LOOK_S)
            else:
                return
    finally:
        os.close(lock)
