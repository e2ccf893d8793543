"""Engine `slurm`: runs the shards as elements of a job array, which submitit submits.

The array outlives this process; when the same command is run again, it finds the finished shards.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmprep.build.engines import OnClip
from mmprep.build.engines.remote import RemoteJob, announce_run, run_task
from mmprep.build.plan import Task
from mmprep.build.shard import ShardResult
from mmprep.clips.job import Job
from mmprep.clusters import parse_value
from mmprep.errors import ConfigError, MmprepError
from mmprep.format.paths import STATE

if TYPE_CHECKING:
    import submitit

# Largest array that Slurm accepts by default (MaxArraySize).
_ELEMENTS: Final = 1000
# Parameters that submitit has for every kind of cluster; all others are Slurm's own.
_SHARED: Final = {"timeout_min", "cpus_per_task", "mem_gb", "name", "nodes"}
_DEFAULTS: Final = {"timeout_min": "240", "cpus_per_task": "1", "name": "mmprep"}
_POLL_S: Final = 1.0


def run(
    tasks: Sequence[Task],
    job: Job,
    *,
    workers: int | None,
    on_clip: OnClip,
    parameters: Mapping[str, str] | None = None,
) -> Iterator[ShardResult]:
    """Submits ``tasks`` as one array, and yields the results of each element when it has ended.

    Args:
        tasks: Tasks of a plan that are not done.
        job: Settings that all tasks share; every node must reach its places.
        workers: Number of decoding processes; by default one for each shard.
        on_clip: Function called for each clip of an element when the element has ended.
        parameters: Parameters of the jobs, such as ``partition``, ``account``, ``timeout_min``,
            ``mem_gb``, ``cpus_per_task`` (decoding processes for a shard); ``folder`` for scripts
            and logs, on a file system that the nodes share, by default below the output;
            ``cluster=local`` runs the array on this machine.

    Raises:
        ConfigError: There is no Slurm here, or it does not know a parameter.
        MmprepError: An element failed; the message names its log.
    """
    import submitit

    if not tasks:
        return
    chosen = {**_DEFAULTS, **(parameters or {})}
    cluster, place = chosen.pop("cluster", "slurm"), chosen.pop("folder", _default_folder(job.out))
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise ConfigError(
            "no sbatch here; submit from a login node of the cluster. --slurm cluster=local runs "
            "the array on this machine, for a trial"
        )
    values = {k if k in _SHARED else f"slurm_{k}": parse_value(v) for k, v in chosen.items()}
    each = values["cpus_per_task"]
    if not isinstance(each, int) or each < 1:
        raise ConfigError(f"--slurm cpus_per_task is a number from 1; got {each!r}")
    remote_job = announce_run(job, each)
    folder = Path(place).absolute() / remote_job.run[:8]
    elements = min(len(tasks), _ELEMENTS, max(workers // each, 1) if workers else len(tasks))
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(**values)
    except (NameError, ValueError, AssertionError, RuntimeError) as error:
        raise ConfigError(f"--slurm: {error}") from error
    groups = [tasks[number::elements] for number in range(elements)]
    try:
        jobs = executor.map_array(_Element(), groups, [remote_job] * elements)
    except (submitit.core.utils.FailedJobError, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        reason = (str(error).strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(f"Slurm took no job: {reason}; see --slurm for its parameters") from error
    try:
        for done in submitit.helpers.as_completed(jobs, poll_frequency=_POLL_S):
            for result in _results(done):
                for failure in result.failures:
                    on_clip(failure)
                for _ in result.entries:
                    on_clip(None)
                yield result
    except BaseException:
        for one in jobs:
            one.cancel(check=False)
        raise
    shutil.rmtree(folder)


def _default_folder(out: str) -> str:
    """Folder of scripts and logs: in the output's state, or here if the output is a bucket."""
    return "mmprep-slurm" if "://" in out else str(Path(out, STATE, "slurm"))


class _Element:
    """One element of the array. Slurm may run it again; shards that are done are not made twice."""

    def __call__(
        self, tasks: Sequence[Task], remote_job: RemoteJob
    ) -> list[ShardResult] | MmprepError:
        try:
            return [run_task(task, remote_job) for task in tasks]
        except MmprepError as error:
            # Returned, because submitit reduces a raised exception to its text.
            return error

    def checkpoint(
        self, tasks: Sequence[Task], remote_job: RemoteJob
    ) -> "submitit.helpers.DelayedSubmission":
        """Submission that replaces the element when Slurm takes its node or its time is over."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, tasks, remote_job)


def _results(job: "submitit.Job[list[ShardResult] | MmprepError]") -> list[ShardResult]:
    if job.exception() is not None:
        raise MmprepError(
            f"job {job.job_id} of the array failed; its log: {job.paths.stderr}. "
            "What is whole stays; the same command goes on"
        )
    outcome = job.result()
    if isinstance(outcome, MmprepError):
        raise outcome
    return outcome
