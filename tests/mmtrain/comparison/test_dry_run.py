"""Dry runs: the runs of a comparison, and what those that are left take."""

import json

import pytest
from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.comparison.compare import compare
from mmtrain.training.parts import CONFIG, read_config
from tests.support.evalwork import contest

BROKEN = """
from dataclasses import dataclass

from mmtrain.methods.base import Method


@dataclass(kw_only=True, eq=False)
class Broken(Method):
    '''Breaks in its first step.'''

    def loss(self, run, out, batch):
        raise ZeroDivisionError("on purpose")
"""
SMALL = ("--encoder", "small-cnn", "--batch-size", "4", "--device", "cpu", "--workers", "1",
         "--modalities", "audio,visual", "--set", "view.frames=1", "--set", "view.size=32",
         "--set", "width=64")  # fmt: skip


def run(shards, out, *more):
    words = ("compare", "--data", shards, "--out", out, *SMALL, "--dry-run", *more)
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_runs_of_a_table_that_is_half_there_are_counted_and_priced(shards, tmp_path):
    out = tmp_path / "out"
    compare(contest(shards, "joint", seeds=(0, 1)), out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    config = read_config(out / "joint" / "seed-0" / CONFIG)
    same = ("--epochs", config.epochs, "--set", f"lr={config.optimizer.lr}")
    asked = ("--methods", "joint,multitask", "--seeds", "0-2", *same)

    plan = json.loads(run(shards, out, "--json", *asked))

    assert (plan["runs"], plan["tuning"], plan["finished"], plan["dry_run"]) == (6, 0, 2, True)
    joint, multitask = plan["rows"]
    assert [joint["runs"], joint["finished"], joint["epochs"]] == [3, 2, 1]
    assert [multitask["runs"], multitask["finished"], multitask["epochs"]] == [3, 0, 3]
    assert multitask["seconds"] == pytest.approx(3 * multitask["seconds_an_epoch"])
    assert multitask["bytes"] == 3 * multitask["bytes_an_epoch"]
    assert plan["hours"] == pytest.approx((joint["seconds"] + multitask["seconds"]) / 3600)
    text = run(shards, out, *asked)
    assert text.splitlines()[-1].startswith("6 runs, 2 finished; the rest takes about ")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_tuned_row_counts_its_grid_once_and_a_broken_one_is_named(shards, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    methods = f"joint,{tmp_path / 'broken.py'}:Broken"
    asked = ("--methods", methods, "--seeds", "0-2", "--tune", "lr=0.1,0.01", "--epochs", "7")
    asked = (*asked, "--engine", "slurm", "--jobs", "4")

    text = run(shards, tmp_path / "out", *asked)

    lines = text.splitlines()
    # Two of tuning, and two further seeds: the first one's run is the tuned one.
    joint = next(line.split() for line in lines if line.startswith("joint"))
    assert joint[1:4] == ["4", "0", "28"]
    assert any(line.endswith("would fail: ZeroDivisionError('on purpose')") for line in lines)
    assert lines[-1].startswith("8 runs (4 of tuning), 0 finished; ")
    assert "on 4 machines like it" in lines[-1]
    assert not (tmp_path / "out").exists()
