"""Every fusion with the methods that the papers pair with all of them: OGM and OPM."""

import pytest

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import ConfigError
from mmtrain.models.catalog import FUSIONS
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import CHECKPOINT
from mmtrain.training.train import train
from tests.support.enginework import lines, small
from tests.support.fusionwork import settings_of
from tests.support.shardmaker import shards_of

MODALITIES = (("audio", "visual"), ("audio", "visual", "flow"))
SMALL = {"mlp": 16, "gated": 16, "weight": 16, "centralnet": 16, "ml-lstm": 16, "attention": 16}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """12 samples to train on, in three classes: audio, visual, flow."""
    return shards_of(tmp_path_factory.mktemp("fusing"), samples=24)


def config_of(shards, fusion, method, modalities):
    return small(
        shards,
        method=method,
        fusion=fusion,
        modalities=modalities,
        optimizer=OptimizerConfig(lr=0.01),
        settings={
            "encoder": {"width": 64},
            "fusion": {"hidden": SMALL[fusion]}
            if fusion in SMALL
            else settings_of(fusion, segments=3),
        },
    )


@pytest.mark.parametrize("fusion", FUSIONS.names)
@pytest.mark.parametrize("modalities", MODALITIES, ids=["two", "three"])
@pytest.mark.parametrize("method", ["ogm", "opm"])
def test_it_trains_modulated(shards, tmp_path, fusion, method, modalities):
    train(config_of(shards, fusion, method, modalities), tmp_path)

    for name, value in checkpoint.load(tmp_path / CHECKPOINT)["model"].items():
        assert value.isfinite().all(), name
    for line in lines(tmp_path):
        scores = [line["logged"][f"score.{m}"] for m in modalities]
        assert all(0 < score < 1 for score in scores)
        assert len({*scores}) > 1, "modalities have the same share, so none is ever ahead"
        assert line["train_loss"] < 10


@pytest.mark.parametrize("fusion", ["mmtm", "centralnet", "attention"])
@pytest.mark.parametrize("method", ["iprm", "aug", "lfm-h", "multitask"])
def test_methods_with_heads_or_a_fusion_of_their_own_train_too(shards, tmp_path, fusion, method):
    config = config_of(shards, fusion, method, MODALITIES[1])

    train(config, tmp_path)

    assert all(0 < line["train_loss"] < 20 for line in lines(tmp_path))


@pytest.mark.parametrize("fusion", ["centralnet", "attention"])
def test_one_modality_is_trained_at_a_time_where_encoders_are_apart(shards, tmp_path, fusion):
    train(config_of(shards, fusion, "igm", MODALITIES[1]), tmp_path)

    assert all(0 < line["train_loss"] < 20 for line in lines(tmp_path))


def test_a_method_of_one_modality_at_a_time_refuses_encoders_that_exchange(shards, tmp_path):
    config = config_of(shards, "mmtm", "igm", MODALITIES[0])

    with pytest.raises(ConfigError, match="mmtm lets the encoders exchange"):
        train(config, tmp_path)
