"""Engine `ray`: shards as tasks of an existing Ray cluster.

Ray runs a task again whose worker or node was lost. What is whole lies in the output, so a run that
loses its driver costs the shards under way, and any engine may do the rest.
"""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, Final

from mmprep.build.engines import Seen
from mmprep.build.engines.remote import errand, perform
from mmprep.build.plan import Task
from mmprep.build.shard import ShardResult
from mmprep.clips.job import Job
from mmprep.errors import ConfigError, MmprepError

# Losses of the worker or node that one shard survives.
_RETRIES: Final = 8
# How long a stop waits for tasks to end by themselves.
_STOP_S: Final = 5.0


def run(
    tasks: Sequence[Task], job: Job, *, workers: int | None, seen: Seen, address: str | None = None
) -> Iterator[ShardResult]:
    """Runs ``tasks`` on the cluster at ``address``, and yields each result when its shard is whole.

    Args:
        tasks: What is left of a plan.
        job: What they share; its places must be reachable from every node.
        workers: Decoding processes in all; by default as many as the cluster has cores.
        seen: Called for each clip of a shard when that is whole.
        address: ``host:port``; by default ``RAY_ADDRESS``, or the cluster that this node is of.

    Raises:
        ConfigError: No cluster there, or a node that cannot do it.
        MmprepError: A shard lost its worker too often.
    """
    import ray

    if not tasks:
        return
    with _connected(address):
        nodes = ray.nodes()  # type: ignore[no-untyped-call]  # half of Ray has no types
        cores = [int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]]
        workers = workers or max(sum(cores), 1)
        # With fewer shards than cores several decode for one shard, as far as a node has them.
        each = max(1, min(workers // len(tasks), max(cores)))
        remote = ray.remote(perform).options(num_cpus=each, max_retries=_RETRIES)
        given = ray.put(errand(job, each))
        left = list(reversed(tasks))
        waiting: dict[Any, Task] = {}
        try:
            while left or waiting:
                while left and len(waiting) < max(workers // each, 1):
                    task = left.pop()
                    waiting[remote.remote(task, given)] = task
                done, _ = ray.wait(list(waiting))
                for reference in done:
                    task = waiting.pop(reference)
                    result = _result(reference, task)
                    for failure in result.failures:
                        seen(failure)
                    for _ in result.entries:
                        seen(None)
                    yield result
        finally:
            for reference in waiting:
                ray.cancel(reference)
            if waiting:
                ray.wait(list(waiting), num_returns=len(waiting), timeout=_STOP_S)


def _result(reference: Any, task: Task) -> ShardResult:
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


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """This process as a driver of the cluster, where it is not one already."""
    import ray

    if ray.is_initialized():
        yield
        return
    # Ray's threads say on stdout that a worker died, until the shutdown ends; that place is for
    # results.
    with redirect_stdout(sys.stderr):
        try:
            ray.init(
                address or os.environ.get("RAY_ADDRESS") or "auto",
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            where = f"at {address}" if address else "here"
            raise ConfigError(
                f"no Ray cluster {where} ({str(error).strip().splitlines()[0]}). Start one with "
                "`ray start --head`, or name one with --ray-address HOST:PORT"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()
