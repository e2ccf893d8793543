"""Engine `slurm`: the runs are elements of a job array, which submitit submits.

Slurm may run an element again, and its run goes on from its checkpoint. The array outlives a killed
command; its elements stop when the same command is run again.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mmprep.clusters import parse_value
from mmtrain.comparison.charge import Charge
from mmtrain.comparison.engines import Job, Outcome
from mmtrain.comparison.engines.remote import RemoteJob, remote_jobs, run_remote
from mmtrain.comparison.engines.stopping import STOPPED, on_signals
from mmtrain.errors import ConfigError, Interrupted
from mmtrain.training.train import RESULT

if TYPE_CHECKING:
    import submitit

log = logging.getLogger(__name__)

# Largest array that Slurm accepts by default (MaxArraySize).
_ELEMENTS: Final = 1000
# Parameters that submitit has for every kind of cluster; all others are Slurm's own.
_SHARED: Final = {"timeout_min", "cpus_per_task", "gpus_per_node", "mem_gb", "name", "nodes"}
_DEFAULTS: Final = {"timeout_min": "240", "cpus_per_task": "4", "name": "mmtrain"}
_LOCAL: Final = "local"
_POLL_S: Final = 1.0
# Seconds for which a stop waits for the processes of this machine.
_STOP_S: Final = 30.0
_STOPPED_EXIT: Final = 143


def run(
    jobs: Sequence[Job],
    *,
    charge: Charge,
    at_once: int | None,
    parameters: Mapping[str, str] | None = None,
) -> Iterator[Outcome]:
    """Submits ``jobs`` as one array, and yields the outcome of each when its element has ended.

    Args:
        jobs: Runs that are not finished; every node must reach their folders and data.
        charge: Command that has the folder of all runs.
        at_once: Largest number of runs at once; by default that of the cluster.
        parameters: Parameters of the jobs, such as ``partition``, ``account``, ``timeout_min``,
            ``mem_gb``, ``gpus_per_node``, ``cpus_per_task`` (threads of a run); ``folder`` for
            scripts and logs, on a file system that the nodes share, by default below the
            comparison's; ``cluster=local`` runs the array on this machine.

    Raises:
        ConfigError: There is no Slurm here, or it does not know a parameter.
        Interrupted: A signal asked to stop; the array is cancelled.
    """
    array = _array(len(jobs), charge, at_once, parameters or {})
    remote = remote_jobs(jobs, charge, int(array.values["cpus_per_task"]))
    groups = [remote[number :: array.elements] for number in range(array.elements)]
    failed, stopping = False, list[bool]()
    # Before the elements begin: what ignores SIGINT, as a job of a shell's background does, would
    # have children that ignore it too, and they are asked to stop by it.
    with on_signals(lambda: stopping.append(True)):
        left = dict(zip(_submit(array, groups), groups, strict=True))
        try:
            while left and not stopping:
                for element in [element for element in left if element.done()]:
                    for outcome in _outcomes(element, left.pop(element)):
                        failed |= outcome.error is not None
                        yield outcome
                time.sleep(_POLL_S if left else 0)
        finally:
            for element in left:
                element.cancel(check=False)
            if array.cluster == _LOCAL:
                _wait(left)
    if stopping:
        raise Interrupted(STOPPED)
    if not failed:
        _remove(array.folder)
        if "folder" not in (parameters or {}):
            # With what earlier commands left there, which were killed.
            shutil.rmtree(array.folder.parent, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class _Array:
    """Request to submitit.

    Attributes:
        cluster: ``slurm``, or ``local`` for processes of this machine.
        folder: Folder of scripts and logs.
        elements: Number of elements.
        values: Parameters, by submitit's names.
    """

    cluster: str
    folder: Path
    elements: int
    values: Mapping[str, Any]


def _array(jobs: int, charge: Charge, at_once: int | None, parameters: Mapping[str, str]) -> _Array:
    """The array for so many ``jobs``.

    Raises:
        ConfigError: There is no Slurm here, or a parameter is wrong.
    """
    chosen = {**parameters}
    cluster = chosen.pop("cluster", "slurm")
    if cluster != _LOCAL and shutil.which("sbatch") is None:
        raise ConfigError(
            "no sbatch here; submit from a login node of the cluster. --slurm cluster=local runs "
            "the array on this machine, for a trial"
        )
    place = chosen.pop("folder", None) or str(charge.folder / ".slurm")
    elements = min(jobs, _ELEMENTS)
    if cluster == _LOCAL:
        # All elements begin at once there.
        cores = os.cpu_count() or 1
        elements = min(elements, at_once or cores)
        chosen.setdefault("cpus_per_task", str(max(1, cores // elements)))
    elif at_once is not None:
        chosen.setdefault("array_parallelism", str(at_once))
    return _Array(
        cluster=cluster,
        folder=Path(place).absolute() / charge.command[:8],
        elements=elements,
        values=_values({**_DEFAULTS, **chosen}),
    )


def _values(texts: Mapping[str, str]) -> dict[str, Any]:
    values = {k if k in _SHARED else f"slurm_{k}": parse_value(v) for k, v in texts.items()}
    threads = values["cpus_per_task"]
    if not isinstance(threads, int) or threads < 1:
        raise ConfigError(f"--slurm cpus_per_task is a number from 1; got {threads!r}")
    return values


def _submit(
    array: _Array, groups: Sequence[Sequence[RemoteJob]]
) -> "list[submitit.Job[list[Outcome]]]":
    import submitit

    try:
        executor = submitit.AutoExecutor(folder=array.folder, cluster=array.cluster)
        executor.update_parameters(**array.values)
    except (NameError, ValueError, AssertionError, RuntimeError) as error:
        _remove(array.folder)
        raise ConfigError(f"--slurm: {error}") from error
    try:
        return executor.map_array(_Element(), groups)
    except (submitit.core.utils.FailedJobError, OSError) as error:
        _remove(array.folder)
        reason = (str(error).strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(f"Slurm took no job: {reason}; see --slurm for its parameters") from error


def _remove(folder: Path) -> None:
    """Removes a folder of scripts and logs, and the one above if there are no others in it."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


class _Element:
    """One element of the array, with one run or several. Finished runs are not made twice."""

    def __call__(self, group: Sequence[RemoteJob]) -> list[Outcome]:
        try:
            return [run_remote(remote) for remote in group]
        except Interrupted as error:
            log.warning("%s", error)
            # No result, so that it is Slurm that says how the element goes on, or that it ended.
            raise SystemExit(_STOPPED_EXIT) from error

    def checkpoint(self, group: Sequence[RemoteJob]) -> "submitit.helpers.DelayedSubmission":
        """Submission that replaces the element when Slurm takes its node or its time is over."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, group)


def _outcomes(
    element: "submitit.Job[list[Outcome]]", group: Sequence[RemoteJob]
) -> Iterator[Outcome]:
    if element.exception() is None:
        yield from element.result()
        return
    lost = (
        f"job {element.job_id} of the array ended without its result; its log: "
        f"{element.paths.stderr}; the same command tries it again"
    )
    for remote in group:
        done = (remote.job.folder / RESULT).exists()
        yield Outcome(remote.job, None) if done else Outcome(remote.job, lost, lost=True)


def _wait(elements: "Iterable[submitit.Job[list[Outcome]]]") -> None:
    """Waits for the processes of this machine, which were asked to stop."""
    end = time.monotonic() + _STOP_S
    while not all(element.done() for element in elements) and time.monotonic() < end:
        time.sleep(_POLL_S / 10)
