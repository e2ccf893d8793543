"""The task models with the methods that OGM's tables pair them with, on labels by segment."""

import pytest

from mmtrain.config.run import ViewConfig
from mmtrain.errors import ConfigError
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import CHECKPOINT
from mmtrain.training.train import train
from tests.support.enginework import lines
from tests.support.fusionwork import SEGMENTED, settings_of
from tests.support.taskwork import tiny


def config_of(shards, fusion, method, modalities=("audio", "visual"), **settings):
    return tiny(
        shards,
        fusion=fusion,
        method=method,
        modalities=modalities,
        epochs=1,
        view=ViewConfig(frames=4, size=32, length=12),
        settings={
            "encoder": {"width": 64},
            "fusion": {**settings_of(fusion, segments=4), **settings},
        },
    )


@pytest.mark.parametrize("fusion", SEGMENTED)
@pytest.mark.parametrize("method", ["ogm", "opm", "opm+ogm"])
def test_segments_are_learnt_modulated(task_shards, tmp_path, fusion, method):
    train(config_of(task_shards("localisation"), fusion, method), tmp_path)

    for name, value in checkpoint.load(tmp_path / CHECKPOINT)["model"].items():
        assert value.isfinite().all(), name
    (line,) = lines(tmp_path)
    scores = [line["logged"][f"score.{m}"] for m in ("audio", "visual")]
    assert all(0 < score < 1 for score in scores)
    assert scores[0] != scores[1]
    assert 0 < line["train_loss"] < 10
    assert 0 <= line["val"]["accuracy"] <= 1


@pytest.mark.parametrize("fusion", ["avsd", "panoavqa"])
@pytest.mark.parametrize("method", ["ogm", "opm", "opm+ogm"])
def test_questions_are_answered_modulated(task_shards, tmp_path, fusion, method):
    modalities = ("audio", "visual", "text")
    shards = task_shards("answers")

    train(config_of(shards, fusion, method, modalities, question="text"), tmp_path)

    (line,) = lines(tmp_path)
    assert len({line["logged"][f"score.{m}"] for m in modalities}) == 3
    assert 0 < line["train_loss"] < 10
    assert set(line["val"]["groups"]) <= {"Audio Counting", "Visual Location"}


def test_another_number_of_segments_is_refused_by_name(task_shards, tmp_path):
    config = config_of(task_shards("localisation"), "avga", "ogm", segments=10)

    with pytest.raises(ConfigError, match="task's 16 logits are not those of 10 segments"):
        train(config, tmp_path / "run")
