"""`mmtrain train --dry-run` and `mmtrain settings`."""

import json

from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.config.run import keys


def run(*words):
    return CliRunner().invoke(main, [*map(str, words)])


def test_a_dry_run_of_training_measures_and_writes_nothing(task_shards, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = (
        *("train", "--data", task_shards("classification"), "--encoder", "small-cnn", "--dry-run"),
        *("--modalities", "audio", "--epochs", 3, "--batch-size", 2, "--accumulate", 2),
        *("--device", "cpu", "--workers", 1, "--json"),
    )
    done = run(*words)
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert (plan["step_size"], plan["steps_an_epoch"], plan["steps"]) == (4, 3, 9)
    own = plan["parameters"]
    assert own.pop("all") == sum(own.values())
    assert {*own} == {"encoder.audio", "fusion"}
    assert plan["seconds_an_epoch"] > 0
    assert plan["bytes_an_epoch"] > 0
    assert plan["memory_bytes"] > 0
    assert [*tmp_path.iterdir()] == []


def test_settings_are_those_that_set_takes():
    plain = json.loads(run("settings", "--method", "ogm-ge", "--json").stdout)["settings"]
    by_name = {each["name"]: each for each in plain}
    own = {name for name in by_name if not name.startswith("method.")}
    assert own == keys().keys() - {"data"}
    assert by_name["optimizer.name"]["allowed"] == "sgd, adamw"
    assert by_name["view.size"]["allowed"] == "at least 1"
    assert by_name["method.alpha"]["default"] == 0.8
    assert all(each["help"] for each in plain)
    assert "schedule.warmup = 0  (int; at least 0)" in run("settings").stdout


def test_a_logger_without_its_package_is_refused_with_the_way_to_it(monkeypatch):
    monkeypatch.setattr("mmtrain.cli.names.find_spec", lambda name: None)
    done = run("train", "--data", "nowhere", "--out", "nowhere", "--log", "trackio")
    assert done.exit_code == 2
    assert "pip install 'mmprep[trackio]'" in done.stderr
