"""Engine `slurm`: shards as elements of a job array, written and submitted by submitit.

The array outlives this process; what it made is there when the same command is run again.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmprep.build.engines import Seen
from mmprep.build.engines.remote import Errand, errand, perform
from mmprep.build.plan import Task
from mmprep.build.shard import ShardResult
from mmprep.clips.job import Job
from mmprep.errors import ConfigError, MmprepError

if TYPE_CHECKING:
    import submitit

# What Slurm takes by default (MaxArraySize).
_ELEMENTS: Final = 1000
# Names that submitit has for every kind of cluster; others are Slurm's own.
_SHARED: Final = {"timeout_min", "cpus_per_task", "mem_gb", "name", "nodes"}
_DEFAULTS: Final = {"timeout_min": "240", "cpus_per_task": "1", "name": "mmprep"}
_POLL_S: Final = 1.0


def run(
    tasks: Sequence[Task],
    job: Job,
    *,
    workers: int | None,
    seen: Seen,
    parameters: Mapping[str, str] | None = None,
) -> Iterator[ShardResult]:
    """Submits ``tasks`` as one array, and yields the results of each element when it has ended.

    Args:
        tasks: What is left of a plan.
        job: What they share; its places must be reachable from every node.
        workers: Decoding processes in all; by default one for each shard.
        seen: Called for each clip of an element when that has ended.
        parameters: Of the jobs, such as ``partition``, ``account``, ``timeout_min``, ``mem_gb``,
            ``cpus_per_task`` (decoding processes for a shard); ``folder`` for scripts and logs, on
            a file system that the nodes share; ``cluster=local`` runs the array on this machine.

    Raises:
        ConfigError: No Slurm here, or a parameter that it does not know.
        MmprepError: An element failed; names its log.
    """
    import submitit

    if not tasks:
        return
    chosen = {**_DEFAULTS, **(parameters or {})}
    cluster, place = chosen.pop("cluster", "slurm"), chosen.pop("folder", "mmprep-slurm")
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise ConfigError(
            "no sbatch here; submit from a login node of the cluster. --slurm cluster=local runs "
            "the array on this machine, for a trial"
        )
    values = {k if k in _SHARED else f"slurm_{k}": _value(v) for k, v in chosen.items()}
    each = values["cpus_per_task"]
    if not isinstance(each, int) or each < 1:
        raise ConfigError(f"--slurm cpus_per_task is a number from 1; got {each!r}")
    given = errand(job, each)
    folder = Path(place).absolute() / given.run[:8]
    elements = min(len(tasks), _ELEMENTS, max(workers // each, 1) if workers else len(tasks))
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(**values)
    except (NameError, ValueError, AssertionError, RuntimeError) as error:
        raise ConfigError(f"--slurm: {error}") from error
    groups = [tasks[number::elements] for number in range(elements)]
    jobs = executor.map_array(_Element(), groups, [given] * elements)
    try:
        for done in submitit.helpers.as_completed(jobs, poll_frequency=_POLL_S):
            for result in _results(done):
                for failure in result.failures:
                    seen(failure)
                for _ in result.entries:
                    seen(None)
                yield result
    except BaseException:
        for one in jobs:
            one.cancel(check=False)
        raise
    shutil.rmtree(folder)


class _Element:
    """One element of the array; Slurm may send it again, and what is whole is not made twice."""

    def __call__(self, tasks: Sequence[Task], given: Errand) -> list[ShardResult] | MmprepError:
        try:
            return [perform(task, given) for task in tasks]
        except MmprepError as error:
            # As a value: of what is raised submitit keeps the text alone.
            return error

    def checkpoint(
        self, tasks: Sequence[Task], given: Errand
    ) -> "submitit.helpers.DelayedSubmission":
        """What submitit sends again when Slurm takes the node away or the time is over."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, tasks, given)


def _results(job: "submitit.Job[list[ShardResult] | MmprepError]") -> list[ShardResult]:
    if job.exception() is not None:
        raise MmprepError(
            f"job {job.job_id} of the array failed; its log: {job.paths.stderr}. "
            "What is whole stays; the same command goes on"
        )
    found = job.result()
    if isinstance(found, MmprepError):
        raise found
    return found


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
