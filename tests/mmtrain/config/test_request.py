"""From options, a recipe and overrides to a config."""

import json

import pytest

from mmtrain.config.overrides import overrides, require_encoders, resolved
from mmtrain.config.request import Request, encoders_of
from mmtrain.config.run import TrainConfig
from mmtrain.errors import ConfigError, UnknownName

RECIPE = """
title = "Of a test"
encoder = "resnet18"
epochs = 7
[optimizer]
lr = 0.5
[encoders.audio]
name = "small-cnn"
width = 64
[methods.multitask]
unimodal = 0.25
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE)
    return str(path)


def made(*settings, recipe=None, base=None, **options):
    return Request(options={"data": "x", **options}, recipe=recipe, settings=settings).config(base)


def test_overrides_go_before_options_and_options_before_the_recipe(recipe):
    config = made("lr=0.1", recipe=recipe, method="multitask", epochs=3)
    assert (config.epochs, config.optimizer.lr) == (3, 0.1)
    assert config.settings["method"] == {"unimodal": 0.25}
    assert made(recipe=recipe).epochs == 7


def test_a_request_needs_data_unless_a_run_is_resumed():
    with pytest.raises(ConfigError, match="--data is needed"):
        Request().config()
    base = TrainConfig(data="there", epochs=9)
    assert Request(options={"seed": 3}).config(base) == TrainConfig(data="there", epochs=9, seed=3)


def test_what_is_replaced_takes_its_parameters_with_it():
    base = resolved(TrainConfig(data="x", method="multitask", encoder="small-cnn"))
    config = made(base=base, method="joint")
    assert "method" not in config.settings
    assert config.settings["encoder"] == base.settings["encoder"]


def test_names_are_spelled_as_in_the_catalog():
    config = made(method="OGM_GE", encoder=["Video=Small_CNN"])
    assert config.method == "ogm-ge"
    assert config.encoders == {"visual": "small-cnn"}


@pytest.mark.parametrize(
    ("texts", "changes"),
    [
        (["resnet18"], {"encoders": {}, "encoder": "resnet18"}),
        (["audio=resnet18"], {"encoders.audio": "resnet18"}),
        (
            ["audio=resnet18,visual=small-cnn"],
            {"encoders.audio": "resnet18", "encoders.visual": "small-cnn"},
        ),
        (
            ["small-cnn", "audio=resnet18"],
            {"encoders": {}, "encoder": "small-cnn", "encoders.audio": "resnet18"},
        ),
    ],
    ids=str,
)
def test_an_encoder_is_for_all_or_for_some_modalities(texts, changes):
    assert encoders_of(texts) == changes


@pytest.mark.parametrize("texts", [["a", "b"], ["audio=a,audio=b"]], ids=str)
def test_two_encoders_for_one_are_refused(texts):
    with pytest.raises(ConfigError, match="given twice"):
        encoders_of(texts)


def test_each_modality_has_its_encoder_and_its_parameters():
    config = made(
        "encoder.width=64",
        "encoder.visual.area=100",
        encoder=["small-cnn", "audio=resnet18"],
        modalities=("audio", "visual", "flow"),
    )
    config = resolved(config)
    assert config.encoder_of("audio") == "resnet18"
    assert config.encoder_settings("audio") == {"weights": None}
    assert config.encoder_settings("visual") == {"width": 64, "area": 100}
    assert config.encoder_settings("flow") == {"width": 64, "area": 16_384}
    again = TrainConfig.from_json(config.to_json(), "x")
    assert resolved(again) == config == again


def test_a_run_on_one_modality_alone_has_the_encoder_of_that_modality():
    both = resolved(made(encoder=["small-cnn", "audio=resnet18"], modalities=("audio", "visual")))
    alone = resolved(made(encoder=["resnet18"], modalities=("audio",)))
    assert both.only("audio").differences(alone.only("audio")) == []
    assert both.only("visual").differences(both.only("audio")) != []


def test_a_parameter_that_only_the_encoder_of_one_modality_has_reaches_it():
    config = resolved(made("encoder.width=64", encoder=["resnet18", "audio=small-cnn"]))
    assert config.encoder_settings("audio") == {"width": 64, "area": 16_384}
    with pytest.raises(UnknownName, match="no parameter of encoder resnet18 'width'"):
        overrides(["encoder.visual.width=64"], config)
    with pytest.raises(UnknownName, match=r"no parameter 'encoder\.depth'"):
        overrides(["encoder.depth=64"], config)


def test_encoders_of_modalities_that_are_not_trained_on_are_dropped():
    config = resolved(
        made(
            "encoder.flow.width=64", encoder=["small-cnn", "audio=resnet18"], modalities=("audio",)
        )
    )
    assert set(config.settings) == {"method", "curriculum", "fusion", "encoder", "encoder.audio"}
    with pytest.raises(UnknownName, match="no modality with an encoder 'smell'"):
        require_encoders(made(encoder=["smell=resnet18"]), ("audio", "visual"))


def test_a_recipe_has_encoders_by_modality_which_an_option_replaces(recipe):
    config = resolved(made(recipe=recipe, modalities=("audio", "visual")))
    assert config.encoders == {"audio": "small-cnn"}
    assert config.encoder_settings("audio")["width"] == 64
    config = resolved(made(recipe=recipe, encoder=["resnet18"], modalities=("audio", "visual")))
    assert config.encoders == {}
    assert "encoder.audio" not in config.settings


@pytest.mark.parametrize(
    ("text", "message"),
    [("title = ", "recipe .*mine.toml"), ("[encoders.audio]\nwidth = 1\n[odd]\na = 1", "odd.a")],
)
def test_a_wrong_recipe_of_the_users_own_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        made(recipe=str(path))
    with pytest.raises(ConfigError, match="cannot read the recipe"):
        made(recipe=str(tmp_path / "none.toml"))


OLD = {
    "data": "x",
    "method": "ogm-ge",
    "encoder": "small-cnn",
    "settings": {
        "method": {"alpha": 0.8, "noise": "tensor-std"},
        "encoder": {"width": 64, "area": 16_384},
    },
}


def test_a_config_of_an_older_version_means_the_same():
    config = TrainConfig.from_json(json.dumps(OLD), "config.json")
    assert config.encoders == config.plugins == {}
    assert not config.compile
    full = resolved(config)
    assert full.settings["encoder"] == OLD["settings"]["encoder"]
    assert full.settings["method"]["noise"] == "tensor-std"
    assert not any("." in choice for choice in full.settings)


def test_a_variant_has_its_own_default_until_another_value_is_given():
    assert resolved(made(method="igm")).settings["method"]["radius"] == 0.05
    assert resolved(made(method="igm-nosam")).settings["method"]["radius"] == 0.0
    config = resolved(made("radius=0.1", method="igm-nosam"))
    assert config.settings["method"]["radius"] == 0.1


def test_lists_of_a_method_are_tuples_also_after_json():
    config = TrainConfig(data="x", settings={"method": {"teachers": ("runs/a", "runs/b")}})
    again = TrainConfig.from_json(config.to_json(), "x")
    assert again.settings["method"]["teachers"] == ("runs/a", "runs/b")
