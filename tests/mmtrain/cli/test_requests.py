"""Requests as people type them, and what a wrong one leaves behind."""

import json

import pytest
from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.config.run import TrainConfig
from mmtrain.names import MODALITY_ALIASES, canonical
from tests.support.shardmaker import shards_of

SMALL = ("--encoder", "small-cnn", "--epochs", "1", "--batch-size", "4", "--device", "cpu")
VIEW = ("--set", "view.size=32", "--workers", "1")


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_a_wrong_weights_path_leaves_no_folder(shards, tmp_path):
    common = ("train", "--data", shards, "--out", tmp_path / "run", "--batch-size", 4, *VIEW)

    done = run(*common, "--set", f"encoder.weights={tmp_path / 'nothing.pth'}", "--device", "cpu")

    assert done.exit_code == 2
    assert "nothing.pth" in done.stderr
    assert not (tmp_path / "run").exists()
    done = run(*common, "--encoder", "small-cnn", "--epochs", 1, "--set", "view.frames=1")
    assert done.exit_code == 0, done.output


def test_a_method_that_cannot_be_set_up_leaves_no_folder(shards, tmp_path):
    options = ("--method", "igm", "--modalities", "audio", "--out", tmp_path / "run")
    done = run("train", "--data", shards, *SMALL, *VIEW, *options)
    assert done.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_modalities_and_frames_are_reported(shards, tmp_path, caplog):
    caplog.set_level("INFO")
    done = run(
        *("train", "--data", shards, *SMALL, *VIEW, "--set", "view.frames=3"),
        *("--out", tmp_path / "run"),
    )
    assert done.exit_code == 0, done.output
    assert caplog.messages.count("modalities audio, visual (also in the shards: flow)") == 1
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warnings == ["view.frames is 3, and no clip has more than 2 frames: frames will repeat"]


def test_frames_that_clips_have_are_no_warning(tmp_path, caplog):
    shards = shards_of(tmp_path / "shards", frames=3)
    done = run(
        *("train", "--data", shards, *SMALL, *VIEW, "--set", "view.frames=3"),
        *("--out", tmp_path / "run"),
    )
    assert done.exit_code == 0, done.output
    assert [r for r in caplog.records if r.levelname == "WARNING"] == []


def test_names_are_taken_in_any_case_and_in_other_words(shards, tmp_path):
    done = run(
        *("train", "--data", shards, "--out", tmp_path, "--epochs", 1, "--batch-size", 4),
        *("--method", "MultiTask", "--curriculum", "BSS_L", "--encoder", "Small-CNN"),
        *("--fusion", "SUM", "--modalities", "rgb,Sound", "--device", "cpu", *VIEW),
        *("--set", "Learning-Rate=0.02", "--set", "view.frames=1"),
    )

    assert done.exit_code == 0, done.output
    config = json.loads((tmp_path / "config.json").read_text())
    chosen = [config[name] for name in ("method", "curriculum", "encoder", "fusion")]
    assert chosen == ["multitask", "bss-l", "small-cnn", "sum"]
    assert config["modalities"] == ["visual", "audio"]
    assert config["optimizer"]["lr"] == 0.02


@pytest.mark.parametrize(("kind", "name"), [("methods", "OGM-GE"), ("curricula", "BSS-L")])
def test_an_entry_is_explained_in_any_case(kind, name):
    assert run(kind, name).stdout.startswith(f"{name.lower()} [")


def test_other_names_pass_through_as_they_are():
    assert canonical("mine.py:Mine", ["joint"]) == "mine.py:Mine"
    assert canonical("VIDEO", MODALITY_ALIASES.values(), MODALITY_ALIASES) == "visual"
    assert canonical("a_b", ["a-b", "a_b"]) == "a_b"


def test_an_unknown_parameter_offers_few_names_and_no_empty_one(shards, tmp_path):
    done = run("train", "--data", shards, *SMALL, "--set", "zzzz=1", "--out", tmp_path / "run")
    assert done.exit_code == 2
    offered = done.stderr.partition("there are: ")[2].partition(" and ")[0].split(", ")
    assert len(offered) == 10
    assert all(offered)


def parsed(command, *arguments):
    given = [str(argument) for argument in arguments]
    # As below the group: click keeps what the first context makes of the option of help.
    names = main.context_settings["help_option_names"]
    with main.commands[command].make_context(command, given, help_option_names=names) as context:
        return context.params


@pytest.mark.parametrize("command", ["train", "compare"])
def test_lists_of_modalities_take_two_forms(command):
    common = (command, "--out", "x", *(("--methods", "joint") if command == "compare" else ()))
    for form in (("--modalities", "audio,flow"), ("--modalities", "audio", "--modalities", "flow")):
        assert parsed(*common, *form)["modalities"] == ("audio", "flow")
    assert parsed(*common)["modalities"] is None


def test_methods_and_seeds_take_two_forms():
    common = ("compare", "--out", "x")
    one = parsed(*common, "--methods", "joint,ogm-ge", "--seeds", "0,1")
    repeated = ("--methods", "joint", "--methods", "OGM-GE", "--seeds", "0", "--seeds", "1")
    assert parsed(*common, *repeated) == one
    assert one["methods"] == ("joint", "ogm-ge")
    assert one["seeds"] == ("0", "1")
    assert one["curricula"] == (TrainConfig.curriculum,)
