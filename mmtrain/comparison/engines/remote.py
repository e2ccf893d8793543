"""A run on another machine, for the engines `ray` and `slurm`.

It refuses to begin with other library versions than the command's, for the table would mix them,
and stops when its command has ended or another goes on with the comparison.
"""

import os
import platform
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from mmprep.version import VERSION
from mmtrain.comparison.charge import Charge
from mmtrain.comparison.engines import Job, Outcome
from mmtrain.comparison.engines.task import train_job
from mmtrain.errors import Interrupted

# Seconds between two looks at the command that is in charge.
_CHECK_S: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class RemoteJob:
    """A run, and what it needs on another machine.

    Attributes:
        job: The run.
        charge: Command that sent it, with an absolute folder.
        place: Folder that relative paths are meant from.
        threads: Number of threads that compute, and that decode where the config leaves it open.
        versions: Library to its version on the machine of the command.
    """

    job: Job
    charge: Charge
    place: str
    threads: int
    versions: Mapping[str, str]


def remote_jobs(jobs: Sequence[Job], charge: Charge, threads: int) -> list[RemoteJob]:
    """The ``jobs`` as other machines take them."""
    charge = replace(charge, folder=charge.folder.resolve())
    place, versions = str(Path.cwd()), _versions()
    return [
        RemoteJob(job=job, charge=charge, place=place, threads=threads, versions=versions)
        for job in jobs
    ]


def run_remote(remote: RemoteJob) -> Outcome:
    """Trains a run on this machine, or goes on with it.

    Raises:
        Interrupted: A signal asked to stop, or another command is in charge.
    """
    node = platform.node()
    own = _versions()
    if changed := [name for name in own if own[name] != remote.versions.get(name)]:
        name = changed[0]
        reason = (
            f"{node} has {name} {own[name]}, the command has {remote.versions.get(name)}; install "
            "the same versions on every node"
        )
        return Outcome(remote.job, reason, lost=True)
    try:
        os.chdir(remote.place)
    except OSError:
        reason = (
            f"{node} has no folder {remote.place}; start the command in one that all nodes share"
        )
        return Outcome(remote.job, reason, lost=True)
    if over := remote.charge.over():
        raise Interrupted(f"{node}: {over}")
    torch.set_num_threads(remote.threads)
    config = remote.job.config
    if config.workers is None:
        config = replace(config, workers=remote.threads)
    return train_job(replace(remote.job, config=config), _ChargeWatch(remote.charge))


class _ChargeWatch:
    """Stops a run whose command is no longer in charge."""

    def __init__(self, charge: Charge) -> None:
        self._charge, self._next = charge, 0.0

    def step(self, epoch: int, step: int, steps: int, measures: Mapping[str, Any], /) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _CHECK_S
            if self._charge.over():
                # As any request to stop: the run ends its step, and saves.
                signal.raise_signal(signal.SIGTERM)

    def epoch(self, line: Mapping[str, Any], /) -> None:
        pass


def _versions() -> dict[str, str]:
    return {"mmprep": VERSION, "torch": torch.__version__}
