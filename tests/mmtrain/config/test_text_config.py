"""Encoders by kind of input, and the tokenizer in the config of a run."""

import json
from dataclasses import replace

import pytest

from mmtrain.config.overrides import resolved
from mmtrain.config.request import Request
from mmtrain.config.run import TrainConfig, ViewConfig
from mmtrain.data import View
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.models.catalog import encoder_for, kinds_of

PLUGIN = """
from mmtrain.models.encoders.text_cnn import TextCNN

class Mine(TextCNN):
    pass
"""


def config_of(*modalities, **changes):
    return TrainConfig(data="x", modalities=modalities, **changes)


def test_a_modality_that_the_encoder_of_all_does_not_take_has_that_of_its_kind():
    config = resolved(config_of("audio", "visual", "text", "speech"))

    assert config.encoders == {"text": "text-cnn", "speech": "transformer"}
    assert config.encoder == "resnet18"
    assert config.settings["encoder.text"]["width"] == 128
    assert [config.encoder_of(m) for m in ("audio", "text")] == ["resnet18", "text-cnn"]
    assert TrainConfig.from_json(config.to_json(), "x") == config
    assert resolved(config) == config


def test_an_encoder_of_all_that_takes_texts_is_theirs():
    config = resolved(config_of("text", "speech", encoder="transformer"))

    assert config.encoders == {}
    assert config.encoder_of("text") == "transformer"


@pytest.mark.parametrize(
    ("modality", "encoder", "message"),
    [
        (
            "text",
            "resnet18",
            "text has tokens, .* resnet18 takes pictures and spectrogram; choose "
            "--encoder text=text-cnn",
        ),
        ("speech", "text-cnn", "speech has sequence, .*; choose --encoder speech=transformer"),
        ("visual", "transformer", "visual has pictures, .*; choose --encoder visual=resnet18"),
        ("audio", "transformers", "audio has spectrogram, .* takes tokens and pictures"),
    ],
)
def test_an_encoder_refuses_a_kind_that_it_does_not_take(modality, encoder, message):
    with pytest.raises(ConfigError, match=message):
        resolved(config_of(modality, encoders={modality: encoder}))


def test_the_parameters_of_a_default_encoder_can_be_set():
    request = Request(
        options={"data": "x", "modalities": ("visual", "text")},
        settings=("encoder.text.embedding=16", "encoder.text.width=48"),
    )

    own = resolved(request.config()).settings["encoder.text"]

    assert (own["embedding"], own["width"]) == (16, 48)
    with pytest.raises(UnknownName, match="parameter of encoder text-cnn"):
        Request(options={"data": "x"}, settings=("encoder.text.heads=2",)).config()


def test_the_kinds_of_a_plug_in_are_those_of_its_class(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)

    assert kinds_of(f"{path}:Mine") == ("tokens",)
    assert encoder_for("text", f"{path}:Mine") == f"{path}:Mine"
    assert encoder_for("speech", f"{path}:Mine") == "transformer"
    # A plug-in is not loaded for modalities that have no default of their own.
    assert encoder_for("visual", "gone.py:Mine") == "gone.py:Mine"


def test_the_view_of_a_config_is_that_of_the_stream():
    names = ("tokenizer", "length", "steps")
    assert [getattr(ViewConfig(), n) for n in names] == [getattr(View(), n) for n in names]
    older = json.loads(config_of("audio").to_json())
    for name in names:
        del older["view"][name]
    assert TrainConfig.from_json(json.dumps(older), "x") == config_of("audio")
    with pytest.raises(ConfigError, match="length is at least 1"):
        ViewConfig(length=0)


def test_a_tokenizer_is_in_the_config_with_its_digest_and_may_not_change(tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    monkeypatch.chdir(tmp_path)

    by_file, by_folder = (
        resolved(config_of("text", view=ViewConfig(tokenizer=name)))
        for name in ("tokenizer.json", ".")
    )

    assert by_file == by_folder
    assert by_file.view.tokenizer == str(path)
    assert [*by_file.plugins] == [str(path)]
    path.write_text("{} ")
    with pytest.raises(ConfigError, match=r"tokenizer\.json has changed since the run began"):
        resolved(by_file)
    # Found too where a resumed run is compared with what is asked for.
    again = resolved(replace(by_file, plugins={}))
    assert any("tokenizer.json has changed" in line for line in by_file.differences(again))
    assert resolved(replace(by_file, allow_changed=True)).plugins == by_file.plugins
    path.unlink()
    with pytest.raises(ConfigError, match=r"cannot read .*tokenizer\.json"):
        resolved(by_file)
