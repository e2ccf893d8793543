"""Who started a process: torchrun, srun and MPI leave their variables, and some leave too many."""

import os

import pytest

from mmtrain.errors import ConfigError
from mmtrain.training.launch import Launch, first_host, launch_of
from mmtrain.training.train import train
from tests.mmtrain.training.test_ranks import config_of, nearly_same
from tests.support import forked
from tests.support.ports import free_port
from tests.support.rankwork import be_task

TORCHRUN = {
    "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"
}  # fmt: skip
SRUN = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NODELIST": "gpu[07-09]",
    "SLURM_NNODES": "2",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "1",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}
HYDRA = {"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}


def test_without_a_launcher_it_is_alone():
    assert launch_of({}) == Launch()


def test_srun_gives_ranks_that_meet_on_the_first_host():
    assert launch_of(SRUN) == Launch(
        rank=2, world=4, local_rank=1, meeting=("gpu07", 12_000 + 4711)
    )


def test_the_meeting_of_sruns_ranks_can_be_chosen():
    chosen = launch_of({**SRUN, "MASTER_ADDR": "10.0.0.3", "MASTER_PORT": "29500"})
    assert chosen.meeting == ("10.0.0.3", 29500)


def test_steps_of_one_job_meet_at_different_ports():
    ports = {launch_of({**SRUN, "SLURM_STEP_ID": str(step)}).meeting[1] for step in range(8)}
    assert len(ports) == 8
    assert all(1024 < port < 32768 for port in ports)


def test_ranks_on_one_host_need_no_name_of_it():
    assert launch_of({**SRUN, "SLURM_NNODES": "1"}).meeting[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "alone",
    [
        pytest.param({**SRUN, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, id="one task"),
        pytest.param({k: v for k, v in SRUN.items() if k != "SLURM_PROCID"}, id="salloc"),
        # sbatch gives its script the variables of a first task, and no other will come.
        pytest.param({**SRUN, "SLURM_PROCID": "0", "ENVIRONMENT": "BATCH"}, id="sbatch"),
        # `srun -n 1` in a job of four, and the shell that salloc itself starts as a step.
        pytest.param({**SRUN, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, id="one of four"),
        pytest.param({"PMI_RANK": "0", "PMI_SIZE": "1"}, id="mpi of one"),
    ],
)
def test_a_task_of_its_own_is_alone(alone):
    assert launch_of(alone).world == 1
    assert launch_of(alone).rank == 0


def test_srun_within_sbatch_counts_the_tasks_of_its_step():
    within = {**SRUN, "ENVIRONMENT": "BATCH", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "4"}
    assert launch_of(within).world == 4


@pytest.mark.parametrize("launcher", [OPEN_MPI, HYDRA], ids=["open-mpi", "hydra"])
def test_mpi_gives_ranks_too(launcher):
    launch = launch_of(launcher)
    assert (launch.rank, launch.world, launch.local_rank) == (1, 2, 1)
    assert launch.meeting[0] == "127.0.0.1"


def test_mpi_over_several_hosts_needs_the_place():
    wide = {**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "4"}
    with pytest.raises(ConfigError, match="several hosts; set MASTER_ADDR to the host of rank 0"):
        launch_of(wide)
    assert launch_of({**wide, "MASTER_ADDR": "n1"}).meeting[0] == "n1"


@pytest.mark.parametrize("other", [SRUN, OPEN_MPI, HYDRA])
def test_torchrun_wins_where_both_are_set(other):
    assert launch_of({**other, **TORCHRUN}) == Launch(rank=3, world=4, local_rank=1)
    lone = {**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}
    assert launch_of({**other, **lone}) == Launch()


def test_a_world_without_a_place_is_refused():
    with pytest.raises(ConfigError, match="WORLD_SIZE is 2, but RANK, MASTER_ADDR, MASTER_PORT"):
        launch_of({"WORLD_SIZE": "2"})
    with pytest.raises(ConfigError, match="the variable SLURM_PROCID is no number: 'two'"):
        launch_of({**SRUN, "SLURM_PROCID": "two"})


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("login1", "login1"),
        ("a,b", "a"),
        ("gpu[07-09,12],login1", "gpu07"),
        ("cn-[003,005-009]", "cn-003"),
        ("rack[1-2]node[05-06]", "rack1node05"),
        ("n[1-2].cluster.example", "n1.cluster.example"),
    ],
)
def test_the_first_host_of_a_list(hosts, first):
    assert first_host(hosts) == first


def started(folder, config, variables, rank):
    """A process that trains, with the variables of one task of srun."""
    clean = {n: v for n, v in os.environ.items() if n not in TORCHRUN and "SLURM" not in n}
    own = {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
    return forked.start(be_task, config, folder, environment={**clean, **variables, **own})


@pytest.mark.slow
def test_two_tasks_of_srun_come_to_what_one_process_comes_to(shards, tmp_path):
    config = config_of(shards)
    srun = {**SRUN, "SLURM_NNODES": "1", "SLURM_NTASKS": "2", "MASTER_PORT": str(free_port())}
    tasks = [started(tmp_path / "two", config, srun, rank) for rank in (0, 1)]
    for task in tasks:
        done = task.wait()
        assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    train(config, tmp_path / "one")
    assert nearly_same(tmp_path / "one", tmp_path / "two")
