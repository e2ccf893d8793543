"""Runs that leave damaged samples out are measured without them, too."""

import json
import shutil

import pytest
from click.testing import CliRunner

from mmtrain.cli.main import main
from mmtrain.data import open_dataset
from mmtrain.errors import DataError
from mmtrain.evaluation.evaluate import evaluate
from mmtrain.evaluation.missing import Missing
from mmtrain.evaluation.probe import probe
from mmtrain.training.train import train
from tests.support.enginework import small


def damage(folder, split, count):
    """Flips a byte of the sound of the first samples of a split; returns their keys."""
    tar = folder / split / "000000.tar"
    data, keys = bytearray(tar.read_bytes()), []
    with open_dataset(folder) as dataset:
        for i in dataset.ids(split)[:count].tolist():
            member = dataset.index.members(i)["spectrogram"][0]
            data[member.offset + member.size - 1] ^= 1
            keys.append(dataset.key(i))
    tar.write_bytes(data)
    return keys


@pytest.fixture(scope="module")
def run(shards, tmp_path_factory):
    """A run with one damaged sample in train and two in test; a whole batch of them in test."""
    home = tmp_path_factory.mktemp("damaged")
    shutil.copytree(shards, home / "shards")
    damage(home / "shards", "train", 1)
    damage(home / "shards", "test", 5)
    config = small(home / "shards", epochs=1, modalities=("audio", "visual"), skip_corrupt=True)
    train(config, home / "run")
    return home / "run"


def test_an_evaluation_leaves_them_out_and_counts_them(run):
    report = evaluate(run, missing=Missing(rates=({"audio": 0.0},), draws=1))

    assert (report["samples"], report["skipped"]) == (4, 5)
    tested = json.loads((run / "result.json").read_text())["test"]
    own = {name: value for name, value in tested.items() if not name.startswith("rho.")}
    assert {name: report[name] for name in own} == own
    for modality, rho in report["discrepancy"].items():
        assert tested[f"rho.{modality}"] == pytest.approx(rho)
    assert sum(each["count"] for each in report["by_class"]) == 4
    assert report["missing"][0]["accuracy"]["mean"] == report["accuracy"]


def test_a_probe_leaves_them_out_and_counts_them(run):
    assert probe(run)["skipped"] == 6  # Five in test and one in train; none in val.


def test_the_commands_say_how_many(run):
    done = CliRunner().invoke(main, ["eval", str(run)])
    assert done.exit_code == 0, done.output
    assert "4 samples of test; 5 damaged samples left out" in done.stdout
    done = CliRunner().invoke(main, ["probe", str(run)])
    assert "6 damaged samples left out" in " ".join(done.stdout.split())


def test_a_split_of_damaged_samples_alone_is_bad_data(run, tmp_path):
    shutil.copytree(run.parent / "shards", tmp_path / "shards")
    damage(tmp_path / "shards", "val", 9)
    with pytest.raises(DataError, match="every sample of val is damaged"):
        evaluate(run, split="val", data=str(tmp_path / "shards"))
