import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.data import open_dataset
from mmtrain.training import ledger
from mmtrain.training.run import LEDGER

SMALL = ("--encoder", "small-cnn", "--epochs", "1", "--batch-size", "4", "--device", "cpu")
VIEW = ("--set", "view.frames=1", "--set", "view.size=32", "--set", "width=64", "--workers", "1")


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def training(shards, out, *more):
    usual = [
        each
        for name, value in zip(SMALL[::2], SMALL[1::2], strict=True)
        if name not in more
        for each in (name, value)
    ]
    return run("train", "--data", shards, *usual, *VIEW, "--out", out, *more)


@pytest.fixture(scope="module")
def finished(shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "run"
    done = training(shards, out)
    assert done.exit_code == 0, done.output
    return out, done


def test_train_says_what_came_out(finished):
    out, done = finished
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{out}: 1 epoch in ")
    assert second.startswith("test, best epoch 1: accuracy ")


def test_resuming_needs_nothing_but_the_folder(finished):
    out, _ = finished
    done = run("train", "--out", out, "--resume", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == json.loads((out / "result.json").read_text())


def test_of_several_ranks_one_says_what_came_out(finished, monkeypatch):
    result = json.loads((finished[0] / "result.json").read_text())
    monkeypatch.setattr("mmtrain.cli.train.run_train", lambda *_: result)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    said = {}
    for world, rank in (("1", "1"), ("2", "0"), ("2", "1")):
        monkeypatch.setenv("WORLD_SIZE", world)
        monkeypatch.setenv("RANK", rank)
        done = run("train", "--out", finished[0], "--resume", "--json")
        assert done.exit_code == 0
        said[world, rank] = done.stdout
    assert json.loads(said["1", "1"]) == json.loads(said["2", "0"]) == result
    assert said["2", "1"] == ""


def test_resuming_with_other_options_is_a_wrong_request(finished):
    out, _ = finished
    done = run("train", "--out", out, "--resume", "--seed", 5, "--set", "lr=0.5")
    assert done.exit_code == 2
    assert "seed 0 -> 5; optimizer.lr 0.01 -> 0.5" in done.stderr


def test_a_folder_with_a_run_in_it_is_a_wrong_request(finished, shards):
    done = training(shards, finished[0])
    assert done.exit_code == 2
    assert "--resume" in done.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--method", "jiont"), "did you mean joint"),
        (("--modalities", "audio,smell"), "no modality 'smell'"),
        (("--set", "lrr=1"), "no parameter 'lrr'"),
        (("--set", "crop=circle"), "no crop 'circle'"),
        (("--batch-size", "1000"), "lower --batch-size"),
        (("--precision", "fp8"), "fp8"),
    ],
)
def test_wrong_requests(shards, tmp_path, more, said):
    done = training(shards, tmp_path / "run", *more)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (tmp_path / "run").exists()


def test_data_that_are_not_there_are_a_wrong_request(tmp_path):
    assert run("train", "--out", tmp_path / "run").exit_code == 2
    assert training(tmp_path / "nothing", tmp_path / "run").exit_code == 2


def test_a_loss_that_is_no_number_is_a_failure(shards, tmp_path):
    done = training(shards, tmp_path / "run", "--set", "lr=1e30", "--json")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "the loss is " in done.stderr
    assert "clip_" in done.stderr


def test_audit(finished, tmp_path):
    out, _ = finished
    done = run("audit", out)
    assert (done.exit_code, done.stdout) == (0, "epoch 1: as its order says\n")
    assert json.loads(run("audit", out, "--json").stdout)["ok"] is True

    path = out / LEDGER / ledger.name(0)
    before = path.read_bytes()
    np.save(path, np.load(path)[1:])
    done = run("audit", out, "--json")
    path.write_bytes(before)
    assert done.exit_code == 3
    assert json.loads(done.stdout)["ok"] is False
    assert run("audit", tmp_path).exit_code == 2


def test_help_does_not_import_torch():
    code = (
        "import sys\n"
        "from mmtrain.cli.main import main\n"
        "main(['train', '--help'], standalone_mode=False)\n"
        "assert not {'torch', 'numpy', 'rich'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "[default: joint]" in " ".join(done.stdout.split())


def test_damaged_samples_stop_a_run_or_are_left_out_and_counted(tmp_path, shards):
    damaged = tmp_path / "shards"
    shutil.copytree(shards, damaged)
    tar = damaged / "train/000000.tar"
    data = bytearray(tar.read_bytes())
    with open_dataset(damaged) as dataset:
        member = dataset.index.members(0)["spectrogram"][0]
        key = dataset.key(0)
    data[member.offset + member.size - 1] ^= 1
    tar.write_bytes(data)

    stopped = training(damaged, tmp_path / "stopped")
    assert stopped.exit_code == 3
    assert f"train/000000.tar: sample {key!r}" in stopped.output

    out = tmp_path / "run"
    done = training(damaged, out, "--skip-corrupt")
    assert done.exit_code == 0, done.output
    assert json.loads((out / "metrics.jsonl").read_text())["logged"]["skipped"] == 1
    audited = run("audit", out)
    assert audited.exit_code == 3
    assert key in audited.output
