"""One study, carried out by three engines in turn, each of them killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from mmtrain.cli.main import main
from tests.support import ROOT, builds, raycluster
from tests.support.builds import until

# Twelve runs: for each row two of tuning and two further seeds; the first seed is the tuned run.
STUDY = """
title = "Twelve runs"
source = "no paper"
seeds = 3
[rows]
method = ["joint", "multitask", "ogm"]
[set]
epochs = 1
[tune]
lr = [0.05, 0.01]
"""
RUNS, COPIES = 12, 3
SMALL = ("--encoder", "small-cnn", "--batch-size", "4", "--device", "cpu", "--workers", "1",
         "--modalities", "audio,visual", "--set", "view.frames=1", "--set", "view.size=32",
         "--set", "width=64")  # fmt: skip
# Longest time in which a command starts, or does what is left, on a busy machine.
START_S = 900


@pytest.fixture(scope="module")
def cluster() -> Iterator[raycluster.RayCluster]:
    # One thread each, as in this process: sums are then of the same order.
    with raycluster.cluster(OMP_NUM_THREADS="1") as made:
        yield made


class Place:
    """The folder of a study, and the commands that make it."""

    def __init__(self, shards, folder):
        self.shards, self.out = shards, folder / "out"
        self.file = folder / "study.toml"
        self.file.write_text(STUDY)

    def words(self, *more):
        place = ("--data", str(self.shards), "--out", str(self.out), "--json")
        return ["study", str(self.file), *SMALL, *place, *more]

    def start(self, *more, env=None):
        return subprocess.Popen(
            [sys.executable, "-m", "mmtrain", *self.words(*more)],
            cwd=ROOT,
            env={**(env or os.environ), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def finished(self):
        """Runs that have a result; those that were copied count too."""
        return len([*self.out.rglob("result.json")])

    def kill_behind(self, process, results):
        """Kills a command as soon as there are so many results, and nothing that it started."""
        until(lambda: self.finished() >= results or process.poll() is not None, START_S)
        assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate()

    def table(self, process):
        """The table that a command prints, and its exit code."""
        text, errors = process.communicate(timeout=START_S)
        assert text, errors.decode()
        return json.loads(text), process.returncode


def plain(table, out):
    """A table without its seconds, its folder, and the command that it and its captions name."""
    rows = [{k: v for k, v in row.items() if k != "seconds_an_epoch"} for row in table["rows"]]
    same = {k: v for k, v in table.items() if k not in ("facts", "figures")}
    return json.loads(json.dumps({**same, "rows": rows}).replace(str(out), "OUT"))


def kill_first(*parts):
    """Kills the first process that has all ``parts`` in its command."""

    def there():
        return [one for one in builds.processes() if all(part in one.command for part in parts)]

    with suppress(ProcessLookupError):
        os.kill(until(there, START_S)[0].number, signal.SIGKILL)


@pytest.mark.long
@pytest.mark.network
@pytest.mark.timeout(4 * START_S)
def test_a_study_split_over_engines_that_are_killed_ends_in_the_same_table(
    cluster, shards, tmp_path
):
    (tmp_path / "straight").mkdir()
    straight = Place(shards, tmp_path / "straight")
    done = CliRunner().invoke(main, straight.words())
    assert done.exit_code == 0, done.output
    expected = json.loads(done.stdout)
    assert straight.finished() == RUNS + COPIES

    place = Place(shards, tmp_path)
    place.kill_behind(place.start("--jobs", "2"), 1)
    first = place.finished()
    assert first < RUNS

    # A worker of Ray is lost, whose run begins anew elsewhere, then the command is.
    ray = ("--engine", "ray", "--ray-address", cluster.address)
    process = place.start(*ray, env=cluster.environment)
    kill_first(b"ray::run_remote")
    place.kill_behind(process, first + 1)
    assert place.finished() < RUNS + COPIES

    # A job of the array is lost: it is named, and the other one does its part.
    slurm = ("--engine", "slurm", "--slurm", "cluster=local", "--jobs", "2")
    process = place.start(*slurm)
    kill_first(b"submitit.core._submit", str(place.out).encode())
    table, code = place.table(process)
    assert code == 1
    assert table["failed"]
    for each in table["failed"]:
        assert "of the array ended without its result; its log: " in each["error"]
        assert not Path(each["run"], "result.json").exists()

    done = CliRunner().invoke(main, place.words())
    assert done.exit_code == 0, done.output
    assert plain(json.loads(done.stdout), place.out) == plain(expected, straight.out)
