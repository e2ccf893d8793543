"""run.json, and runs that are started again from what the folder of another holds."""

import json
import os
import shutil
import signal
from functools import partial

import pytest
from click.testing import CliRunner

from mmprep.format import DATASET
from mmtrain.cli.main import main
from mmtrain.errors import ConfigError
from mmtrain.training.history import Origin, read
from mmtrain.training.train import train
from tests.support import forked
from tests.support.enginework import Kill, same, small
from tests.support.shardmaker import shards_of

SMALL = (
    *("--epochs", "1", "--batch-size", "4", "--device", "cpu", "--workers", "1"),
    *("--encoder", "small-cnn", "--set", "view.frames=1", "--set", "view.size=32"),
)


def run(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


class CtrlC:
    def step(self, *_):
        raise KeyboardInterrupt

    def epoch(self, line): ...


def root_of(shards):
    return json.loads((shards / DATASET).read_text())["root"]


@pytest.fixture(scope="module")
def first(shards, tmp_path_factory):
    """A run of two epochs, by the command."""
    folder = tmp_path_factory.mktemp("again") / "first"
    done = run("train", "--data", shards, *SMALL[2:], "--epochs", "2", "--seed", "7", "--method",
               "ogm", "--curriculum", "bss-l", "--out", folder)  # fmt: skip
    assert done.exit_code == 0, done.output
    return folder


def test_a_run_says_how_it_came_about(first, shards):
    history = json.loads((first / "run.json").read_text())
    assert (history["format"], history["root"], history["recipe"]) == (1, root_of(shards), None)
    (command,) = history["commands"]
    assert command["data"] == str(shards)
    assert command["started"] <= command["ended"]
    assert command["started"].endswith("+00:00")
    assert (command["outcome"], command["resumed"], command["ranks"]) == ("finished", False, 1)
    assert command["device"].startswith("cpu (")
    assert {"mmprep", "mmtrain", "python", "torch", "numpy"} <= {*command["versions"]}
    assert command["commit"] is None or len(command["commit"].removesuffix("-dirty")) == 40


def test_the_command_is_in_it_without_secrets_and_the_machine_is_not(shards, tmp_path):
    # Of a server with a password, from the outside, since the arguments are the process's.
    server = "http://ann:hunter2@127.0.0.1:9"
    arguments = ("train", "--data", shards, *SMALL, "--endpoint", server, "--out", tmp_path / "run")
    assert not forked.run_module("mmtrain", *arguments).returncode
    text = (tmp_path / "run" / "run.json").read_text()
    (command,) = json.loads(text)["commands"]
    assert command["argv"] == [
        "mmtrain", *map(str, arguments[:-3]), "http://127.0.0.1:9", "--out", str(tmp_path / "run")
    ]  # fmt: skip
    assert "hunter2" not in text
    assert os.uname().nodename not in text.replace(str(tmp_path), "").replace(str(shards), "")


def test_a_recipe_stands_in_it_with_its_digest(shards, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('title = "mine"\nencoder = "small-cnn"\nepochs = 1\nbatch_size = 4\n')
    done = run("train", "--data", shards, *SMALL[4:], "--recipe", recipe, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    noted = read(tmp_path / "run")["recipe"]
    assert noted["name"] == str(recipe)
    assert len(noted["sha256"]) == 64

    again = tmp_path / "again"
    assert run("train", "--config", tmp_path / "run/config.json", "--out", again).exit_code == 0
    assert read(again)["recipe"] == noted


def test_every_command_of_a_run_is_in_it(shards, tmp_path):
    config = small(shards)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, watch=CtrlC())
    train(config, tmp_path, resume=True)
    train(config, tmp_path, resume=True)  # There is nothing left to do, and nothing to note.
    commands = read(tmp_path)["commands"]
    assert [(c["outcome"], c["resumed"]) for c in commands] == [
        ("stopped", False), ("finished", True)
    ]  # fmt: skip


def test_a_command_that_was_killed_has_no_end(shards, tmp_path):
    config = small(shards)
    killed = forked.start(partial(train, config, tmp_path, watch=Kill())).wait()
    assert killed.returncode == -signal.SIGKILL
    train(config, tmp_path, resume=True)
    killed, resumed = read(tmp_path)["commands"]
    assert (killed["ended"], killed["outcome"]) == (None, None)
    assert resumed["outcome"] == "finished"


def test_a_run_started_again_is_the_same_bit_for_bit(first):
    out = first.with_name("again")
    done = run("train", "--config", first / "config.json", "--out", out)
    assert done.exit_code == 0, done.output
    assert same(first, out)
    assert (out / "config.json").read_bytes() == (first / "config.json").read_bytes()
    assert read(out)["root"] == read(first)["root"]


def test_without_out_it_goes_beside_the_old_run(first):
    for number in (2, 3):
        done = run("train", "--config", first / "config.json", "--json")
        assert done.exit_code == 0, done.output
        folder = first.with_name(f"first-{number}")
        assert json.loads(done.stdout)["run"] == str(folder)
        assert (folder / "result.json").exists()


def test_other_data_are_refused_by_their_root(first, shards, tmp_path):
    other = shards_of(tmp_path / "other", samples=40)
    done = run("train", "--config", first / "config.json", "--data", other, "--out", tmp_path / "x")
    assert done.exit_code == 2
    assert root_of(shards) in done.stderr
    assert root_of(other) in done.stderr
    assert "give --data the place of the former" in done.stderr
    assert not (tmp_path / "x").exists()


def test_the_same_data_elsewhere_are_taken(first, shards, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(shards, moved)
    done = run("train", "--config", first / "config.json", "--data", moved, "--out", tmp_path / "x")
    assert done.exit_code == 0, done.output
    assert same(first, tmp_path / "x")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (("--epochs", "3"), "epochs 2 -> 3"),
        (("--set", "lr=0.1"), "optimizer.lr 0.01 -> 0.1"),
        (("--recipe", "keypad"), "leave --recipe out"),
        (("--resume",), "--resume goes on with one"),
    ],
)
def test_what_would_make_it_another_run_is_refused(first, tmp_path, more, reason):
    done = run("train", "--config", first / "config.json", *more, "--out", tmp_path / "x")
    assert done.exit_code == 2
    assert reason in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_config_alone_cannot_have_its_data_compared(first, tmp_path, caplog):
    shutil.copy(first / "config.json", tmp_path / "mine.json")
    assert run("train", "--config", tmp_path / "mine.json").exit_code == 2  # Needs --out.
    done = run("train", "--config", tmp_path / "mine.json", "--out", tmp_path / "x")
    assert done.exit_code == 0
    assert "the data cannot be compared" in caplog.text


def test_a_run_of_an_earlier_version_begins_its_history_when_it_goes_on(shards, tmp_path):
    config = small(shards, epochs=1)
    train(config, tmp_path)
    for name in ("run.json", "result.json"):
        (tmp_path / name).unlink()
    train(config, tmp_path, resume=True)
    assert len(read(tmp_path)["commands"]) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 2, "root": 3}'])
def test_a_damaged_history_is_named(first, tmp_path, text):
    shutil.copytree(first, tmp_path / "run")
    (tmp_path / "run/run.json").write_text(text)
    done = run("train", "--config", tmp_path / "run/config.json", "--out", tmp_path / "x")
    assert done.exit_code == 3
    assert "run.json" in done.stderr
    assert "remove it" in done.stderr
    (tmp_path / "run/result.json").unlink()
    done = run("train", "--out", tmp_path / "run", "--resume")
    assert done.exit_code == 3
    assert "run.json" in done.stderr


def test_resuming_elsewhere_notes_the_new_place(shards, tmp_path):
    config, moved = small(shards, epochs=1), tmp_path / "moved"
    train(config, tmp_path / "run")
    (tmp_path / "run/result.json").unlink()
    shutil.copytree(shards, moved)
    done = run("train", "--out", tmp_path / "run", "--resume", "--data", moved)
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "run/config.json").read_text())["data"] == str(moved)
    assert [c["data"] for c in read(tmp_path / "run")["commands"]] == [str(shards), str(moved)]


def test_the_origin_lets_data_of_an_unknown_root_pass():
    Origin(repeats="x").require_data("a", "b")
    with pytest.raises(ConfigError, match="x is of a run on data with the root c, and b has"):
        Origin(repeats="x", root="c").require_data("a", "b")
