"""Embeddings that were computed elsewhere: one layer on the mean step."""

import pytest
import torch

from mmtrain.config.run import OptimizerConfig, ViewConfig
from mmtrain.errors import ConfigError
from mmtrain.modalities import SEQUENCE
from mmtrain.models.encoders import InputSize
from mmtrain.models.encoders.projection import Projection
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import CHECKPOINT
from mmtrain.training.train import train
from tests.support.enginework import lines, small
from tests.support.shardmaker import shards_of

SIZE = InputSize(2, SEQUENCE, (3, 3))


def test_one_step_and_the_mean_of_two_by_hand():
    # W = ((1, 2), (0, -1)), b = (.5, 0). The steps (1, 1) and (3, 0) have the mean (2, .5).
    encoder = Projection(SIZE, width=2)
    with torch.no_grad():
        encoder.layer.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, -1.0]]))
        encoder.layer.bias.copy_(torch.tensor([0.5, 0.0]))
    given = torch.tensor(
        [
            [[1.0, 1, 1], [0, 0, 0], [0, 0, 0]],
            [[1, 1, 1], [3, 0, 1], [0, 0, 0]],
            [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
        ]
    )

    assert encoder(given).tolist() == [[3.5, -1], [3.5, -0.5], [0, 0]]
    assert torch.equal(encoder.tokens(given)[0], torch.tensor([[3.5, -1], [0, 0], [0, 0]]))


def test_its_width_is_checked():
    with pytest.raises(ConfigError, match="projection's width is 1 or more; got 0"):
        Projection(SIZE, width=0)


def test_a_speaker_beside_pictures_trains_modulated(tmp_path):
    shards = shards_of(tmp_path / "shards", samples=24, parts=("frames", "speech"))
    config = small(
        shards,
        method="opm+ogm",
        modalities=("speech", "visual"),
        encoder="small-cnn",
        encoders={"speech": "projection"},
        view=ViewConfig(frames=1, size=32, steps=1),
        epochs=1,
        optimizer=OptimizerConfig(lr=1e-9),  # Features of these shards reach millions.
        settings={"encoder.speech": {"width": 16}, "encoder.visual": {"width": 64}},
    )

    train(config, tmp_path / "run")

    (line,) = lines(tmp_path / "run")
    assert all(0 <= line["logged"][f"score.{m}"] <= 1 for m in ("speech", "visual"))
    for name, value in checkpoint.load(tmp_path / "run" / CHECKPOINT)["model"].items():
        assert value.isfinite().all(), name
