"""Engine `ray`: runs each shard as a task of an existing Ray cluster.

Ray runs a task again if its worker or node was lost. Finished shards lie in the output, so a run
that loses its driver costs only the shards in progress, and any engine can do the rest.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from mmprep.build.engines import OnClip
from mmprep.build.engines.remote import announce_run, run_task
from mmprep.build.plan import Task
from mmprep.build.shard import ShardResult
from mmprep.clips.job import Job
from mmprep.clusters import connected_to_ray
from mmprep.errors import MmprepError

# Number of times that a shard may lose its worker or node.
_RETRIES: Final = 8
# Seconds for which a stop waits for cancelled tasks to end.
_STOP_S: Final = 5.0


def run(
    tasks: Sequence[Task],
    job: Job,
    *,
    workers: int | None,
    on_clip: OnClip,
    address: str | None = None,
) -> Iterator[ShardResult]:
    """Runs ``tasks`` on the cluster at ``address``, and yields each result when its shard is whole.

    Args:
        tasks: Tasks of a plan that are not done.
        job: Settings that all tasks share; every node must reach its places.
        workers: Number of decoding processes; by default as many as the cluster has cores.
        on_clip: Function called for each clip of a shard when the shard is done.
        address: Address ``host:port`` of the cluster; by default ``RAY_ADDRESS``, or the cluster
            of this node.

    Raises:
        ConfigError: There is no cluster, or a node lacks a folder or the right libraries.
        MmprepError: A shard lost its worker too often.
    """
    import ray

    if not tasks:
        return
    with connected_to_ray(address):
        nodes = ray.nodes()  # type: ignore[no-untyped-call]  # half of Ray has no types
        cores = [int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]]
        workers = workers or max(sum(cores), 1)
        # With fewer shards than cores, each shard gets several cores, of one node.
        each = max(1, min(workers // len(tasks), max(cores)))
        remote = ray.remote(run_task).options(num_cpus=each, max_retries=_RETRIES)
        remote_job = ray.put(announce_run(job, each))
        pending = list(reversed(tasks))
        running: dict[Any, Task] = {}
        try:
            while pending or running:
                while pending and len(running) < max(workers // each, 1):
                    task = pending.pop()
                    running[remote.remote(task, remote_job)] = task
                done, _ = ray.wait(list(running))
                for reference in done:
                    task = running.pop(reference)
                    result = _result_of(reference, task)
                    for failure in result.failures:
                        on_clip(failure)
                    for _ in result.entries:
                        on_clip(None)
                    yield result
        finally:
            for reference in running:
                ray.cancel(reference)
            if running:
                ray.wait(list(running), num_returns=len(running), timeout=_STOP_S)


def _result_of(reference: Any, task: Task) -> ShardResult:
    import ray

    try:
        result: ShardResult = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise MmprepError(
            f"{task.name}: its Ray worker was lost {_RETRIES + 1} times ({reason}). "
            "What is whole stays; the same command goes on"
        ) from error
    return result
