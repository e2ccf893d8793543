"""The launcher of this process, as its environment names it: torchrun, Slurm's srun, or MPI.

torchrun's variables win, for they are the most particular: torchrun may itself run in a task of
srun. ``MASTER_ADDR`` and ``MASTER_PORT`` say where the ranks meet, whoever started them. Where they
are absent, srun's ranks meet on the first host of their step, at a port that follows from the
numbers of the job and the step; those of MPI meet on this host if all of them are on it.
"""

import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mmtrain.errors import ConfigError

_HERE: Final = "127.0.0.1"
# Below the ports that Linux gives to clients, of which one may be taken at any moment.
_FIRST_PORT, _PORTS = 12_000, 20_000
# Rank, number of ranks and rank on this host, in the order of Open MPI, MPICH and Intel MPI.
_MPI: Final = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
)
_ON_THIS_HOST: Final = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
_MPI_JOB: Final = ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMI_JOBID", "HYDI_CONTROL_FD")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """This process among those that one command started.

    Attributes:
        rank: Number of this process, from 0.
        world: Number of processes.
        local_rank: Number of this process among those on its host.
        meeting: Host and port at which the ranks meet; None is ``MASTER_ADDR`` and ``MASTER_PORT``
            as torch reads them.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    meeting: tuple[str, int] | None = None


def launch_of(environment: Mapping[str, str] | None = None) -> Launch:
    """How this process was started; alone, if no launcher left its variables.

    A task on its own is alone: ``srun -n 1``, a script that sbatch runs, a shell within salloc.

    Args:
        environment: Variables of the process; those of this one by default.

    Raises:
        ConfigError: The environment names some ranks, but not where they meet.
    """
    variables = os.environ if environment is None else environment
    if "WORLD_SIZE" in variables or "RANK" in variables:
        return _by_torchrun(variables)
    if (tasks := _slurm_tasks(variables)) is not None:
        return _by_slurm(variables, tasks)
    for rank, world, local_rank in _MPI:
        if rank in variables and _number(variables, world, 1) > 1:
            return Launch(
                rank=_number(variables, rank),
                world=_number(variables, world),
                local_rank=_number(variables, local_rank, 0),
                meeting=_mpi_meeting(variables, _number(variables, world)),
            )
    return Launch(local_rank=_number(variables, "LOCAL_RANK", 0))


def first_host(hosts: str) -> str:
    """First host of a list as Slurm writes it.

    Example:
        >>> first_host("gpu[07-09,12],login1")
        'gpu07'
    """
    # Commas within brackets separate numbers, those outside separate hosts.
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", hosts.strip())
    return re.sub(r"\[([^,\-\]]*)[^\]]*\]", r"\1", first[0] if first else hosts)


def _by_torchrun(variables: Mapping[str, str]) -> Launch:
    world = _number(variables, "WORLD_SIZE", 1)
    needed = ("RANK", "MASTER_ADDR", "MASTER_PORT") if world > 1 else ()
    if missing := [name for name in needed if name not in variables]:
        raise ConfigError(
            f"WORLD_SIZE is {world}, but {', '.join(missing)} is not set; start with torchrun"
        )
    return Launch(
        rank=_number(variables, "RANK", 0) if world > 1 else 0,
        world=world,
        local_rank=_number(variables, "LOCAL_RANK", 0),
    )


def _slurm_tasks(variables: Mapping[str, str]) -> int | None:
    """Number of tasks of the step that this process is of; None if it is of no step with several.

    In a script of sbatch, SLURM_NTASKS is the number of the job and SLURM_PROCID is 0 although
    srun did not start it: waiting for the others would never end. srun alone names the step's
    tasks; `ENVIRONMENT` is inherited by its tasks, so it counts only where they are not named.
    """
    if "SLURM_PROCID" not in variables:
        return None
    in_step = "SLURM_STEP_NUM_TASKS" in variables
    if not in_step and variables.get("ENVIRONMENT") == "BATCH":
        return None
    tasks = _number(variables, "SLURM_STEP_NUM_TASKS" if in_step else "SLURM_NTASKS", 1)
    return tasks if tasks > 1 else None


def _by_slurm(variables: Mapping[str, str], tasks: int) -> Launch:
    hosts = variables.get("SLURM_STEP_NODELIST") or variables.get("SLURM_JOB_NODELIST", "")
    nodes = _number(variables, "SLURM_STEP_NUM_NODES", _number(variables, "SLURM_NNODES", 0))
    host = first_host(hosts) if hosts and nodes != 1 else _HERE
    job, step = _number(variables, "SLURM_JOB_ID", 0), _number(variables, "SLURM_STEP_ID", 0)
    return Launch(
        rank=_number(variables, "SLURM_PROCID"),
        world=tasks,
        local_rank=_number(variables, "SLURM_LOCALID", 0),
        # Steps of one job may run side by side.
        meeting=_meeting(variables, host, job + 1009 * step),
    )


def _mpi_meeting(variables: Mapping[str, str], world: int) -> tuple[str, int]:
    here = any(_number(variables, name, 0) == world for name in _ON_THIS_HOST)
    if not here and "MASTER_ADDR" not in variables:
        raise ConfigError(
            f"MPI has started {world} ranks on several hosts; set MASTER_ADDR to the host of rank 0"
        )
    job = "".join(variables.get(name, "") for name in _MPI_JOB)
    return _meeting(variables, _HERE, zlib.crc32(job.encode()))


def _meeting(variables: Mapping[str, str], host: str, number: int) -> tuple[str, int]:
    port = _number(variables, "MASTER_PORT", _FIRST_PORT + number % _PORTS)
    return variables.get("MASTER_ADDR", host), port


def _number(variables: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = variables.get(name)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError:
        raise ConfigError(f"the variable {name} is no number: {text!r}") from None
