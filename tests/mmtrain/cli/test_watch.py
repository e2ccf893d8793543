"""`mmtrain watch` on folders of runs in every state."""

import io
import json
import os
import subprocess
import time

import pytest
from click.testing import CliRunner
from rich.console import Console

from mmtrain.cli.following import follow, is_over
from mmtrain.cli.main import main
from mmtrain.report.status import statuses
from mmtrain.training.beacon import PROGRESS, Beacon, machine
from tests.support.reportwork import make_run


def progress(folder, **changes):
    plain = {
        "epoch": 2, "epochs": 100, "step": 3, "steps": 12, "train_loss": 0.25,
        "samples_per_s": 40.0, "left_s": 3909.0, "time": time.time(), "pid": os.getpid(),
        "machine": machine(),
    }  # fmt: skip
    (folder / PROGRESS).write_text(json.dumps(plain | changes))
    return folder


def ended(folder, outcome):
    plain = {"format": 1, "root": "", "recipe": None, "commands": [{"outcome": outcome}]}
    (folder / "run.json").write_text(json.dumps(plain))
    return folder


@pytest.fixture(scope="module")
def gone():
    """Number of a process that is no more."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_every_state_is_told_apart(tmp_path, gone):
    make_run(tmp_path / "finished")
    for name in ("running", "elsewhere", "killed", "silent", "stopped", "failed"):
        make_run(tmp_path / name, test=None)
    progress(tmp_path / "running", time=0.0)
    progress(tmp_path / "elsewhere", machine="another", pid=gone)
    progress(tmp_path / "killed", pid=gone)
    progress(tmp_path / "silent", machine="another", time=time.time() - 3600)
    ended(tmp_path / "stopped", "stopped")
    ended(tmp_path / "failed", "failed")
    assert {s.run.name: s.state for s in statuses(tmp_path)} == {
        "finished": "finished", "running": "running", "elsewhere": "running",
        "killed": "killed", "silent": "killed", "stopped": "stopped", "failed": "failed",
    }  # fmt: skip


def test_once_prints_a_table_and_json_an_object(tmp_path):
    folder = progress(make_run(tmp_path / "a", (0.25, 0.5), test=None))
    done = CliRunner().invoke(main, ["watch", str(folder), "--once"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    row = done.stdout.splitlines()[1]
    for text in ("running", "2.2/100", "0.2500", "accuracy 0.500", "visual 0.167", "1:05:09"):
        assert text in row
    done = CliRunner().invoke(main, ["watch", str(folder), "--once", "--json"])
    (plain,) = json.loads(done.stdout)["runs"]
    assert (plain["state"], plain["step"], plain["left_s"]) == ("running", 3, 3909.0)
    assert plain["val"]["accuracy"] == 0.5


def test_following_ends_with_the_run_and_prints_each_epoch_once(tmp_path, monkeypatch):
    folder = progress(make_run(tmp_path / "a", (0.25,), test=None))
    console = Console(file=io.StringIO(), width=200)

    def finish(seconds):
        make_run(tmp_path / "b", (0.25, 0.5))
        for name in ("metrics.jsonl", "result.json"):
            (tmp_path / "b" / name).rename(folder / name)

    monkeypatch.setattr(time, "sleep", finish)
    follow(folder, 1.0, console)
    first, last = console.file.getvalue().splitlines()
    assert first.startswith("a: running, epoch 1.2/100, loss 0.2500, val loss 0.7500")
    assert first.endswith("40 samples/s, 1:05:09 left")
    assert last.startswith("a: finished, epoch 2/100")


def test_a_comparison_is_over_with_its_table(tmp_path):
    make_run(tmp_path / "joint" / "seed-0")
    seen = statuses(tmp_path)
    assert not is_over(tmp_path, seen, 10.0)
    assert is_over(tmp_path, seen, 1000.0)
    (tmp_path / "table.json").write_text("{}")
    assert is_over(tmp_path, seen, 0.0)


def test_a_folder_without_runs_is_a_wrong_request(tmp_path):
    done = CliRunner().invoke(main, ["watch", str(tmp_path), "--once"])
    assert done.exit_code == 2
    assert "holds no run" in done.stderr


def test_the_beacon_says_where_a_run_stands(tmp_path):
    beacon = Beacon(tmp_path, 4, every_s=0.01)
    beacon.step(1, 2, 4, {"train_loss": 0.5, "samples_per_s": 3.0})
    deadline = time.monotonic() + 300
    plain = {}
    while plain.get("step") != 2 and time.monotonic() < deadline:
        if (tmp_path / PROGRESS).exists():
            plain = json.loads((tmp_path / PROGRESS).read_text())
    assert (plain["epoch"], plain["steps"], plain["train_loss"]) == (1, 4, 0.5)
    assert plain["pid"] == os.getpid()
    beacon.close()
    assert not (tmp_path / PROGRESS).exists()
