import json
from dataclasses import fields, replace

import pytest

from mmtrain.config.overrides import overrides, resolved
from mmtrain.config.run import (
    CHOICES,
    CROPS,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
    ViewConfig,
    keys,
)
from mmtrain.data import CROPS as STREAM_CROPS
from mmtrain.data import View
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.methods.catalog import METHODS
from tests.support.enginework import small


def test_a_config_survives_json():
    config = small(
        "place",
        method="multitask",
        modalities=("audio",),
        optimizer=OptimizerConfig(name="adamw", clip=2.0),
        schedule=ScheduleConfig(name="cosine", warmup=3),
        settings={"method": {"fused": 0.1}},
    )
    again = TrainConfig.from_json(config.to_json(), "x")
    assert again == config
    assert not again.differences(config)
    assert TrainConfig.from_json(resolved(config).to_json(), "x") == resolved(config)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "not the config of a run"),
        ('{"data": "x", "colour": 1}', "unknown fields colour"),
        ('{"data": "x", "epochs": "many"}', "epochs takes a value of type int; got 'many'"),
        ('{"data": "x", "epochs": null}', "epochs takes a value of type int; got None"),
        ('{"data": "x", "optimizer": {"lr": -1}}', "lr is above 0; got -1"),
        ("{}", "not the config of a run"),
    ],
)
def test_a_damaged_config_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        TrainConfig.from_json(text, "config.json")


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"seed": -1},
        {"workers": 0},
        {"device": "tpu"},
        {"precision": "fp16"},
        {"select": "loss"},
        {"modalities": ("audio", "audio")},
        {"settings": {"colour": {}}},
    ],
    ids=str,
)
def test_impossible_values_are_refused(wrong):
    with pytest.raises(ConfigError):
        TrainConfig(data="x", **wrong)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (OptimizerConfig, {"name": "lion"}),
        (OptimizerConfig, {"lr": 0.0}),
        (OptimizerConfig, {"momentum": 1.0}),
        (OptimizerConfig, {"weight_decay": -1.0}),
        (OptimizerConfig, {"clip": 0.0}),
        (ScheduleConfig, {"name": "stairs"}),
        (ScheduleConfig, {"every": 0}),
        (ScheduleConfig, {"gamma": 0.0}),
        (ScheduleConfig, {"patience": -1}),
        (ScheduleConfig, {"warmup": -1}),
        (ViewConfig, {"crop": "none"}),
        (ViewConfig, {"frames": 0}),
        (ViewConfig, {"size": 0}),
    ],
    ids=str,
)
def test_impossible_values_of_sections_are_refused(kind, wrong):
    with pytest.raises(ConfigError):
        kind(**wrong)


def test_texts_become_values_by_short_or_long_names():
    config = TrainConfig(data="x", method="multitask")
    texts = ["lr=1", "schedule=cosine", "view.size=64", "unimodal=0.5", "clip=null", "crop=resize"]
    texts += ["encoder.width=64", "modalities=audio, visual"]

    found = overrides(texts, replace(config, encoder="small-cnn"))

    assert found == {
        "optimizer.lr": 1.0,
        "schedule.name": "cosine",
        "view.size": 64,
        "method.unimodal": 0.5,
        "optimizer.clip": None,
        "view.crop": "resize",
        "encoder.width": 64,
        "modalities": ("audio", "visual"),
    }
    changed = config.changed(found)
    assert changed.optimizer == OptimizerConfig(lr=1.0)
    assert changed.schedule.name == "cosine"
    assert changed.settings == {"method": {"unimodal": 0.5}, "encoder": {"width": 64}}
    assert changed.view == ViewConfig(size=64, crop="resize")


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("lr", ConfigError, "takes KEY=VALUE"),
        ("lr=fast", ConfigError, r"optimizer\.lr takes a value of type float; got 'fast'"),
        ("epochs=1.5", ConfigError, "type int"),
        ("flip=3", ConfigError, "type bool"),
        ("name=sgd", ConfigError, r"say optimizer\.name or schedule\.name"),
        ("lrr=1", UnknownName, "no parameter 'lrr'; did you mean lr"),
    ],
)
def test_texts_that_mean_nothing_are_refused(text, error, said):
    with pytest.raises(error, match=said):
        overrides([text], TrainConfig(data="x"))


def test_a_resolved_config_says_every_parameter():
    settings = resolved(TrainConfig(data="x", method="multitask", encoder="small-cnn")).settings
    assert settings["method"] == {"fused": 1.0, "unimodal": 1.0, "inference": "fused"}
    assert settings["encoder"] == {"width": 128, "area": 16_384}
    assert tuple(settings) == CHOICES
    json.dumps(settings)


@pytest.mark.parametrize("name", METHODS.names)
def test_no_method_has_a_parameter_that_the_run_has(name):
    own = {p.name for p in METHODS.explain(name).parameters}
    assert not own & {key.rpartition(".")[2] for key in keys()}


def test_pictures_are_shown_as_the_stream_shows_them_by_default():
    assert CROPS == STREAM_CROPS
    assert all(getattr(ViewConfig(), f.name) == getattr(View(), f.name) for f in fields(ViewConfig))


def test_how_a_run_runs_makes_no_other_run():
    config = TrainConfig(data="x")
    assert not config.differences(replace(config, data="y", device="cpu", workers=3))
    assert config.differences(replace(config, view=ViewConfig(flip=False))) == [
        "view.flip True -> False"
    ]


def test_a_parameter_of_another_type_is_a_wrong_request() -> None:
    config = TrainConfig(data="x", settings={"curriculum": {"scoring": 5}}, curriculum="bss-l")
    with pytest.raises(ConfigError, match=r"curriculum\.scoring takes a value like '.*'; got 5"):
        resolved(config)
