"""Engine `ray`: each run is a task of an existing Ray cluster.

Ray runs a task again if its worker or node was lost, and the run goes on from its checkpoint. When
the command is killed Ray ends its tasks.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mmprep.clusters import connected_to_ray
from mmtrain.comparison.charge import Charge
from mmtrain.comparison.engines import Job, Outcome
from mmtrain.comparison.engines.remote import remote_jobs, run_remote
from mmtrain.comparison.engines.stopping import STOPPED, on_signals
from mmtrain.errors import ConfigError, Interrupted

# Number of times that a run may lose its worker or node.
_RETRIES: Final = 8
# Seconds between two looks at whether a signal came.
_LOOK_S: Final = 1.0
# Seconds for which a stop waits for the runs to save what the next command continues.
_STOP_S: Final = 30.0
_RESOURCES: Final = ("num_cpus", "num_gpus")


def run(
    jobs: Sequence[Job],
    *,
    charge: Charge,
    at_once: int | None,
    address: str | None = None,
    resources: Mapping[str, str] | None = None,
) -> Iterator[Outcome]:
    """Carries out ``jobs`` on the cluster at ``address``.

    Args:
        jobs: Runs that are not finished; every node must reach their folders and data.
        charge: Command that has the folder of all runs.
        at_once: Largest number of runs at once; by default one for each GPU of the cluster, or for
            each core where it has none.
        address: Address ``host:port`` of the cluster; by default ``RAY_ADDRESS``, or the cluster
            of this node.
        resources: ``num_cpus`` and ``num_gpus`` of a run; by default one GPU where there are some
            and the runs may compute on them, and an equal share of the cores.

    Raises:
        ConfigError: There is no cluster, or it lacks what a run needs.
        Interrupted: A signal asked to stop; all tasks are cancelled.
    """
    import ray

    given = _numbers(resources or {})
    with connected_to_ray(address):
        every = ray.nodes()  # type: ignore[no-untyped-call]  # half of Ray has no types
        nodes = [node["Resources"] for node in every if node["Alive"]]
        needs = needs_of(nodes, jobs, at_once, given)
        remote = ray.remote(run_remote).options(max_retries=_RETRIES, **needs)
        pending = list(reversed(remote_jobs(jobs, charge, max(1, int(needs["num_cpus"])))))
        running: dict[Any, Job] = {}
        stopping: list[bool] = []
        with on_signals(lambda: stopping.append(True)):
            try:
                while (pending or running) and not stopping:
                    while pending and len(running) < (at_once or len(jobs)):
                        one = pending.pop()
                        running[remote.remote(one)] = one.job
                    done, _ = ray.wait(list(running), timeout=_LOOK_S)
                    for reference in done:
                        yield _outcome(running.pop(reference), reference)
            finally:
                for reference in running:
                    ray.cancel(reference)
                if running:
                    ray.wait(list(running), num_returns=len(running), timeout=_STOP_S)
    if stopping:
        raise Interrupted(STOPPED)


def _numbers(resources: Mapping[str, str]) -> dict[str, float]:
    numbers = {}
    for name, text in resources.items():
        if name not in _RESOURCES:
            raise ConfigError(f"--ray takes {' and '.join(_RESOURCES)}; got {name}")
        try:
            numbers[name] = float(text)
        except ValueError:
            numbers[name] = -1.0
        if numbers[name] < 0:
            raise ConfigError(f"--ray {name} is a number from 0; got {text!r}")
    return numbers


def needs_of(
    nodes: Sequence[Mapping[str, float]],
    jobs: Sequence[Job],
    at_once: int | None,
    given: Mapping[str, float],
) -> dict[str, float]:
    """``num_cpus`` and ``num_gpus`` of a run.

    Args:
        nodes: Resources of each node.
        jobs: Runs that are not finished.
        at_once: Number of runs at once, where it was asked for.
        given: Values that were asked for.

    Raises:
        ConfigError: No node has as much.
    """
    cores = [int(node.get("CPU", 0)) for node in nodes]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    on_gpu = gpus > 0 and any(job.config.device != "cpu" for job in jobs)
    count = min(at_once or (gpus if on_gpu else sum(cores)), len(jobs))
    share = max(1, min(sum(cores) // max(count, 1), max(cores, default=1)))
    needs = {"num_cpus": float(share), "num_gpus": float(on_gpu), **given}
    if not any(
        node.get("CPU", 0) >= needs["num_cpus"] and node.get("GPU", 0) >= needs["num_gpus"]
        for node in nodes
    ):
        raise ConfigError(
            f"no node of the Ray cluster has {needs['num_cpus']:g} cores and "
            f"{needs['num_gpus']:g} GPUs for a run; see --ray num_cpus=... and num_gpus=..."
        )
    return needs


def _outcome(job: Job, reference: Any) -> Outcome:
    """Outcome of a task that has ended."""
    import ray

    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayTaskError as failure:
        return Outcome(job, str(failure.cause), lost=True)
    except ray.exceptions.RayError as failure:
        reason = (str(failure).strip().splitlines() or ["no reason given"])[0]
        lost = f"its Ray worker was lost ({reason}); the same command tries it again"
        return Outcome(job, lost, lost=True)
    return outcome
