"""Data and runs made by earlier versions are still read, and mean the same.

`fixtures/format-1` was made by version 0.1.0: shards of 24 samples, a run of ``ogm-ge`` with
``bss-l`` that was stopped inside its second epoch, and the metrics of the same run undisturbed.
"""

import json
import shutil
from pathlib import Path

import pytest

from mmprep.inspection.verify import verify
from mmprep.storage.store import LocalStore
from mmtrain.data import open_dataset
from mmtrain.evaluation.audit import audit
from mmtrain.evaluation.evaluate import evaluate
from mmtrain.training.parts import config_of
from mmtrain.training.train import train

FIXTURE = Path(__file__).parent / "fixtures" / "format-1"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy that a test may change; the run finds its shards there."""
    folder = tmp_path / "old"
    shutil.copytree(FIXTURE, folder)
    config = folder / "run" / "config.json"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('"shards"', json.dumps(str(folder / "shards"))), "utf-8")
    return folder


def test_shards_of_format_1_are_whole_and_open(old: Path) -> None:
    assert verify(LocalStore(old / "shards")).problems == []
    with open_dataset(old / "shards") as dataset:
        assert len(dataset) == 24
        assert {name: len(dataset.ids(name)) for name in dataset.splits} == {
            "train": 12,
            "val": 6,
            "test": 6,
        }


def test_a_run_of_version_0_1_goes_on_to_the_same_end(old: Path) -> None:
    config = config_of(old / "run")
    result = train(config, old / "run", resume=True)

    straight = json.loads((old / "straight.json").read_text(encoding="utf-8"))
    lines = [
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (old / "run" / "metrics.jsonl", old / "straight.jsonl")
    ]
    # Sums may round otherwise on another processor.
    for ours, theirs in zip(*lines, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-3)
        assert ours["val"]["loss"] == pytest.approx(theirs["val"]["loss"], rel=1e-3)
    assert result["best_epoch"] == straight["best_epoch"]
    assert result["test"]["loss"] == pytest.approx(straight["test"]["loss"], rel=1e-3)
    assert not audit(old / "run").wrong


def test_the_best_weights_of_version_0_1_are_evaluated(old: Path) -> None:
    found = evaluate(old / "run", split="val")

    first = json.loads((old / "straight.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert found["best_epoch"] == 0
    assert found["loss"] == pytest.approx(first["val"]["loss"], rel=1e-3)


def test_a_config_of_version_0_1_is_read_in_full(old: Path) -> None:
    config = config_of(old / "run")

    assert (config.method, config.curriculum) == ("ogm-ge", "bss-l")
    assert config.settings["method"]["alpha"] == 0.8
