"""Estimates of runs: counted from the index and the model, measured in a few steps."""

import os
import tempfile

import pytest

from mmprep.shards import Shards
from mmprep.storage.store import LocalStore
from mmtrain.training.estimate import estimate
from tests.support.enginework import STEPS, running, small

MODALITIES = {"modalities": ("audio", "visual")}


@pytest.fixture(scope="module")
def joint(shards):
    return estimate(small(shards, **MODALITIES))


def sizes(shards, split, frames):
    """Bytes of the spectrograms and of so many frames of each sample of ``split``."""
    with Shards(LocalStore(shards)) as opened:
        index = opened.index
        total = 0.0
        for row in range(len(index)):
            if index.splits[index.split[row]] == split:
                members = index.members(row)
                pictures = [member.size for member in members["frames"]]
                total += sum(pictures) * frames / len(pictures)
                total += sum(member.size for member in members["spectrogram"])
        return total


def test_an_estimate_is_of_the_run_that_train_makes(shards, joint, tmp_path):
    with running(small(shards, **MODALITIES), tmp_path / "run") as run:
        assert joint.parameters == sum(p.numel() for p in run.model.parameters())
    assert joint.steps_an_epoch == STEPS
    assert joint.seconds_an_epoch > 0
    # The process holds the model at least.
    assert joint.memory_bytes > 4 * joint.parameters


def test_bytes_are_those_of_the_index(shards, joint):
    # One of two frames of each, in training and in val.
    expected = sizes(shards, "train", 1) + sizes(shards, "val", 1)
    assert joint.bytes_an_epoch == round(expected)


def test_passes_of_methods_and_curricula_count(shards, joint):
    train = sizes(shards, "train", 1)
    scored = estimate(small(shards, curriculum="bss-l", **MODALITIES))
    assert scored.bytes_an_epoch == pytest.approx(joint.bytes_an_epoch + train, abs=2)
    # A share that grows from a tenth of the data to all of it, over 40 epochs; scored once.
    growing = estimate(small(shards, curriculum="bss-h", epochs=40, **MODALITIES))
    assert growing.steps_an_epoch < STEPS
    assert growing.bytes_an_epoch < joint.bytes_an_epoch


def test_modules_of_the_method_are_counted(shards, joint):
    # A head for each modality.
    grown = estimate(small(shards, method="aug", **MODALITIES))
    assert grown.parameters > joint.parameters


def test_nothing_is_left_behind(shards, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    estimate(small(shards, **MODALITIES))
    assert os.listdir(tmp_path) == []
