"""The check of a GPU, on the CPU: all of it runs but what needs CUDA, which is named."""

import json
import os
import subprocess
import sys

import pytest

from tests.support import ROOT

NEED_CUDA = {"one rank, nccl", "launches"}


@pytest.mark.slow
def test_everything_but_cuda_runs_on_the_cpu(tmp_path):
    command = [ROOT / "scripts/gpu_check", "--device", "cpu", "--quick", "--out", tmp_path / "out"]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "out/gpu_check.json").read_text())
    status = {row["check"]: row["status"] for row in report["checks"]}
    assert {name for name, each in status.items() if each == "skipped"} == NEED_CUDA
    assert {each for name, each in status.items() if name not in NEED_CUDA} == {"ok"}
    assert len(status) == 8
    values = {row["check"]: row["values"] for row in report["checks"]}
    assert values["one rank, nccl"] == {"reason": "needs CUDA"}
    assert values["resume"] == {"apart": 0.0}
    assert values["fed from shards"]["samples/s"] > 0
    assert (tmp_path / "out/gpu_check.md").read_text() == done.stdout
    assert "| step time | ok |" in done.stdout
    assert [*tmp_path.iterdir()] == [tmp_path / "out"]


@pytest.mark.slow
def test_a_device_that_is_not_there_is_refused(tmp_path):
    environment = {**os.environ, "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [ROOT / "scripts/gpu_check", "--out", tmp_path / "out"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "no CUDA device here" in done.stderr
    assert not [*tmp_path.iterdir()]
