"""Runs on texts and sequences that some samples lack."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmtrain.config.run import ViewConfig
from mmtrain.data import View
from mmtrain.errors import ConfigError
from mmtrain.evaluation.evaluate import predictions
from mmtrain.evaluation.open_run import open_run
from mmtrain.models.multimodal import channels_of
from mmtrain.training.train import train
from tests.support.enginework import running, small
from tests.support.streammaker import FEATURES, make_data

MODALITIES = ("visual", "text", "speech")
LACKING = {2: ("text",), 7: ("text", "speech"), 24: ("speech",)}
VIEW = ViewConfig(frames=1, size=32, length=12, steps=5)
SLOW = """
from mmtrain.models.encoders.text_cnn import TextCNN

class Slow(TextCNN):
    rate = 0.25
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    return make_data(folder, parts=("frames", "text", "speech"), lacking=LACKING)


def config_of(library, **changes):
    return small(library, modalities=MODALITIES, view=VIEW, **changes)


@pytest.fixture(scope="module")
def run_folder(library, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "joint"
    train(config_of(library), folder)
    return folder


def test_a_run_trains_on_texts_and_sequences_with_the_encoders_of_their_kinds(run_folder):
    config = json.loads((run_folder / "config.json").read_text())
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]

    assert config["encoders"] == {"text": "text-cnn", "speech": "transformer"}
    assert {*lines[-1]["val"]["modalities"]} == {*MODALITIES}
    assert all(np.isfinite(line["train_loss"]) for line in lines)


def test_what_a_sample_lacks_stays_hidden_where_more_is_hidden_on_purpose(run_folder):
    with open_run(run_folder, device="cpu") as run:
        ids = run.feed.dataset.ids("val")
        everywhere = np.ones(len(ids), bool)
        masks = [{"text": everywhere}, {"text": ~everywhere}, {"speech": ids != 24}]
        before = []
        encode = run.model.encoders["speech"].forward

        def recorded(inputs):
            before.append(inputs[:, :, -1].any(1).tolist())
            return encode(inputs)

        run.model.encoders["speech"].forward = recorded
        predictions(run, "val", masks)

    # Sample 24 lacks its speech in the plain pass and in all others.
    assert before == [[i != 24 for i in ids.tolist()]] * 4


def test_an_encoders_own_rate_multiplies_those_that_are_set(library, tmp_path):
    plugin = tmp_path / "slow.py"
    plugin.write_text(SLOW)
    config = config_of(library, encoders={"text": f"{plugin}:Slow"})
    with running(config, tmp_path / "run") as run:
        lr = config.optimizer.lr

        def rates(prefix):
            return {rate for name, rate in run.rates().items() if name.startswith(prefix)}

        assert rates("encoders.text") == {0.25 * lr}
        assert rates("encoders.visual") == rates("fusion") == {lr}
        run.set_rate(0.5, *run.model.encoders.values())
        assert rates("encoders.text") == {0.125 * lr}
        assert rates("encoders.visual") == {0.5 * lr}
        assert rates("fusion") == {lr}


def test_a_teacher_reads_texts_and_sequences_as_the_run_does(library, run_folder, tmp_path):
    config = config_of(library)
    with running(config, tmp_path / "same") as run:
        assert run.teacher(run_folder).model.modalities == MODALITIES
    other = replace(config, view=replace(VIEW, length=9))
    with (
        running(other, tmp_path / "length") as run,
        pytest.raises(ConfigError, match=r"with view\.length=12, and this run has 9; .* text"),
    ):
        run.teacher(run_folder)
    other = replace(config, view=replace(VIEW, steps=4))
    with (
        running(other, tmp_path / "steps") as run,
        pytest.raises(ConfigError, match=r"view\.steps=5, and this run has 4; .* for speech"),
    ):
        run.teacher(run_folder)


def test_inputs_have_channels_features_or_a_vocabulary(library):
    inputs = {
        "visual": torch.zeros(2, 1, 3, 8, 8, dtype=torch.uint8),
        "text": torch.zeros(2, 12, dtype=torch.int64),
        "speech": torch.zeros(2, 5, FEATURES + 1),
    }

    sizes = channels_of(inputs, 257)

    assert sizes == {"visual": 3, "text": 257, "speech": FEATURES}
    assert [size.kind for size in sizes.values()] == ["pictures", "tokens", "sequence"]
    assert [size.shape for size in sizes.values()] == [(1, 3, 8, 8), (12,), (5, FEATURES + 1)]
    with pytest.raises(ConfigError, match="the vocabulary of text is not known"):
        channels_of(inputs)
    assert View().length == 128
