"""Engines: their requests, what each run gets of a machine, and who is in charge of a folder."""

import fcntl
import os
import sys
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.comparison.charge import IN_CHARGE, taking_charge
from mmtrain.comparison.compare import compare
from mmtrain.comparison.engines import Job, Outcome, engine_named
from mmtrain.comparison.engines.local import resources_of
from mmtrain.comparison.engines.ray import needs_of
from mmtrain.comparison.engines.remote import remote_jobs, run_remote
from mmtrain.comparison.engines.task import train_job
from mmtrain.comparison.progress import Progress
from mmtrain.errors import ConfigError, Interrupted
from tests.support.enginework import small
from tests.support.evalwork import contest

# A method that puts another command in charge in its first step.
TAKEN = """
from dataclasses import dataclass
from pathlib import Path

from mmtrain.methods.base import Method


@dataclass(kw_only=True, eq=False)
class Taken(Method):
    '''Puts another command in charge.'''

    def loss(self, run, out, batch):
        Path("FILE").write_text("another")
        return super().loss(run, out, batch)
"""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "slurm"], "no sbatch here"),
        (["--engine", "slurm", "--slurm", "partition"], "--slurm takes KEY=VALUE"),
        (["--engine", "local", "--slurm", "partition=a"], "--slurm goes with --engine slurm"),
        (["--ray-address", "a:1"], "--ray-address goes with --engine ray"),
        (["--engine", "slurm", "--ray", "num_gpus=1"], "--ray goes with --engine ray, not slurm"),
        (["--engine", "slurm", "--slurm", "cluster=local", "--slurm", "colour=red"], "colour"),
        (["--engine", "slurm", "--slurm", "cluster=local", "--slurm", "cpus_per_task=x"], "from 1"),
        (["--engine", "ray", "--ray", "colour=1"], "--ray takes num_cpus and num_gpus"),
        (["--engine", "ray", "--ray", "num_gpus=-1"], "--ray num_gpus is a number from 0"),
    ],
)
def test_wrong_engines_and_options_are_exit_2(words, message, shards, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    given = ["compare", "--methods", "joint", "--data", shards, "--out", tmp_path / "out"]
    done = CliRunner().invoke(main, [str(word) for word in [*given, *small_options(), *words]])
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def small_options():
    return ["--encoder", "small-cnn", "--batch-size", "4", "--device", "cpu"]


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_engine_whose_package_is_missing_says_how_to_install_it(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"pip install 'mmprep\[{name}\]'"):
        engine_named(name)


@pytest.mark.parametrize(
    ("visible", "count", "expected"),
    [
        (None, 0, [None] * 4),
        (None, 1, [None] * 4),
        (None, 2, ["0", "1", "0", "1"]),
        # A user's own choice: torch counts two of them.
        ("4, 6", 2, ["4", "6", "4", "6"]),
        ("GPU-a,GPU-b,GPU-c", 3, ["GPU-a", "GPU-b", "GPU-c", "GPU-a"]),
    ],
)
def test_gpus_are_dealt_out_in_turn_and_cores_shared(visible, count, expected, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    dealt = [resources_of(number, 4) for number in range(4)]
    assert [own.get("CUDA_VISIBLE_DEVICES") for own in dealt] == expected
    assert {own["OMP_NUM_THREADS"] for own in dealt} == {"2"}
    assert resources_of(0, 20)["OMP_NUM_THREADS"] == "1"


def jobs_of(shards, tmp_path, count, **changes):
    config = small(shards, **changes)
    return [Job(config=config, folder=tmp_path / "out" / str(number)) for number in range(count)]


def test_a_run_gets_a_gpu_of_the_cluster_and_its_share_of_the_cores(tmp_path):
    nodes = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}]
    on_any = jobs_of("s", tmp_path, 6, device="auto")
    on_cpu = jobs_of("s", tmp_path, 6, device="cpu")
    # Two at once for two GPUs; half of twelve cores each.
    assert needs_of(nodes, on_any, None, {}) == {"num_cpus": 6, "num_gpus": 1}
    # Twelve cores for six runs, or for three at once.
    assert needs_of(nodes, on_cpu, None, {}) == {"num_cpus": 2, "num_gpus": 0}
    assert needs_of(nodes, on_cpu, 3, {}) == {"num_cpus": 4, "num_gpus": 0}
    # No more than a node has.
    assert needs_of(nodes, on_cpu, 1, {}) == {"num_cpus": 8, "num_gpus": 0}
    given = {"num_gpus": 0.5, "num_cpus": 2.0}
    assert needs_of(nodes, on_any, None, given) == given
    for wrong in ({"num_gpus": 3.0}, {"num_cpus": 9.0}):
        with pytest.raises(ConfigError, match="no node of the Ray cluster has"):
            needs_of(nodes, on_any, None, wrong)
    with pytest.raises(ConfigError, match="no node"):
        needs_of([{"CPU": 2.0}], on_cpu, None, {"num_gpus": 1.0})


def test_a_second_command_in_the_same_folder_is_refused(shards, tmp_path):
    out = tmp_path / "out"
    with taking_charge(out):
        given = ["compare", "--methods", "joint", "--data", shards, "--out", out, *small_options()]
        done = CliRunner().invoke(main, [str(word) for word in given])
        assert done.exit_code == 2
        assert "another command is at work on it" in done.stderr
        assert [path.name for path in out.iterdir()] == [IN_CHARGE]
    assert not out.exists()
    assert compare(contest(shards, "joint"), out)["rows"]
    assert not (out / IN_CHARGE).exists()


def remote_of(shards, tmp_path, charge, **changes):
    (remote,) = remote_jobs(jobs_of(shards, tmp_path, 1, **changes), charge, 1)
    return remote


def test_a_task_stops_when_another_command_takes_charge(shards, tmp_path):
    (tmp_path / "taken.py").write_text(TAKEN.replace("FILE", str(tmp_path / IN_CHARGE)))
    with taking_charge(tmp_path) as charge:
        method = f"{tmp_path / 'taken.py'}:Taken"
        remote = remote_of(shards, tmp_path, charge, epochs=500, method=method)
        with pytest.raises(Interrupted, match="Stopped at epoch 1, step 2"):
            run_remote(remote)
        # It has saved what the next one goes on from, and let go of the folder.
        assert (remote.job.folder / "checkpoint.pt").exists()
        held = os.open(remote.job.folder, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(held)
        # One of the first command that begins only now does nothing.
        with pytest.raises(Interrupted, match="another command goes on with"):
            run_remote(remote)
    with pytest.raises(Interrupted, match="does not share that folder"):
        run_remote(remote)


def test_a_node_that_differs_is_named(shards, tmp_path):
    with taking_charge(tmp_path) as charge:
        remote = remote_of(shards, tmp_path, charge)
        for wrong, message in (
            (replace(remote, versions={**remote.versions, "torch": "1.0"}), "the command has 1.0;"),
            (replace(remote, place="/nowhere"), "has no folder /nowhere"),
        ):
            outcome = run_remote(wrong)
            assert message in outcome.error
            assert outcome.lost
    assert not (tmp_path / "out").exists()


def test_a_row_of_whose_tuning_a_run_was_lost_is_left_to_the_next_command(shards, tmp_path):
    given = contest(shards, "joint", seeds=(0, 1), tune=("lr=0.05,0.01",))
    expected = compare(given, tmp_path / "straight")
    lost = []

    def engine(jobs, *, charge, at_once):
        """Loses the first run, and trains the others here."""
        for job in jobs:
            if lost:
                yield train_job(job)
            else:
                lost.append(str(job.folder))
                yield Outcome(job, "its machine has gone", lost=True)

    table = compare(given, tmp_path / "out", engine=engine)

    assert table["failed"] == [{"run": lost[0], "error": "its machine has gone"}]
    # Whichever setting is better is not known, so that none is trained with other seeds.
    assert [row["seeds"] for row in table["rows"]] == [[]]
    assert [path.name for path in (tmp_path / "out" / "joint").iterdir()] == ["tune"]
    table = compare(given, tmp_path / "out", engine=engine)
    assert table["failed"] == []
    for name in ("accuracy", "seeds", "setting"):
        assert table["rows"][0][name] == expected["rows"][0][name]


def test_progress_counts_runs_and_epochs_in_their_folders(tmp_path):
    jobs = jobs_of("s", tmp_path, 4, epochs=10)
    progress = Progress(jobs)
    assert progress.line() == "0 of 4 runs done, 0 of 40 epochs"
    for job, lines in zip(jobs, (10, 3, 0, 1), strict=True):
        job.folder.mkdir(parents=True)
        text = '{"epoch": 0}\n' * lines + '{"epoch": 0, "trial": 1}\n'
        (job.folder / "metrics.jsonl").write_text(text)
    (jobs[0].folder / "result.json").touch()
    progress.failed.add(jobs[3].folder)
    line = progress.line()
    assert line.startswith("1 of 4 runs done, 1 failed, 13 of 30 epochs, about ")
    assert line.endswith(" left")
