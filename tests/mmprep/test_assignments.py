"""One language of ``--set`` for both tools."""

from pathlib import Path

import pytest

from mmprep.assignments import parse_value, split_assignment
from mmprep.build.request import Request, parts_of
from mmprep.datasets import spec
from mmprep.errors import ConfigError
from mmtrain.config.overrides import overrides
from mmtrain.config.run import TrainConfig


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("true", bool, True),
        ("True", bool, True),
        ("False", object, False),
        ("none", object, None),
        ("None", float, None),
        ("null", float, None),
        ("3", int, 3),
        ("1_000", int, 1000),
        ("3", float, 3.0),
        ("1e-3", float, 0.001),
        (".5", float, 0.5),
        ("-2.", object, -2.0),
        ("resize", str, "resize"),
        ('"resize"', str, "resize"),
        ("none", str, "none"),
        ("50", str, "50"),
        ("a, b", tuple, ("a", "b")),
        ("a", tuple, ("a",)),
        ('["a", "b"]', tuple, ("a", "b")),
        ("[1, 2]", object, (1, 2)),
        ("0:0.05,50:0.95", object, "0:0.05,50:0.95"),
        ("2020-01-01", object, "2020-01-01"),
        ("{a = 1}", object, "{a = 1}"),
        ("1\nother = 2", object, "1\nother = 2"),
        ("runs/a.pt", object, "runs/a.pt"),
        ("", object, ""),
    ],
)
def test_values(text, kind, value):
    found = parse_value(text, kind)
    assert found == value
    assert type(found) is type(value)


def test_assignments_are_taken_apart_at_the_first_equals_sign():
    assert split_assignment(" lr = 0.1 ") == ("lr", "0.1")
    assert split_assignment("weights=a=b") == ("weights", "a=b")
    for text in ("lr", "=3", " =3"):
        with pytest.raises(ValueError, match="takes KEY=VALUE"):
            split_assignment(text)


def of_mmprep(*settings):
    folder = spec.load("folder", None)
    return parts_of(folder, Request(dataset="folder", raw=Path(), settings=settings))


def of_mmtrain(*settings):
    config = TrainConfig(data="x")
    return config.changed(overrides(settings, config))


@pytest.mark.parametrize("text", ["5", "5.0", ".5e1", " 5 "])
def test_a_number_means_the_same_in_both_tools(text):
    assert of_mmprep(f"clip_s={text}").clip_s == 5.0
    assert of_mmtrain(f"lr={text}").optimizer.lr == 5.0


@pytest.mark.parametrize("text", ["dis", '"dis"', "'dis'"])
def test_a_word_means_the_same_in_both_tools(text):
    assert of_mmprep(f"flow.algorithm={text}").flow.algorithm == "dis"
    assert of_mmtrain(f"crop={text.replace('dis', 'resize')}").view.crop == "resize"


def test_true_means_the_same_in_both_tools():
    assert of_mmtrain("flip=True").view.flip is True
    assert of_mmtrain("flip=false").view.flip is False
    for refused in (of_mmprep, of_mmtrain):
        name = "frames.quality" if refused is of_mmprep else "epochs"
        for text in ("True", "true"):
            with pytest.raises(ConfigError, match="int"):
                refused(f"{name}={text}")


def test_a_text_without_a_value_is_refused_alike():
    for refused in (of_mmprep, of_mmtrain):
        with pytest.raises(ConfigError, match="--set takes KEY=VALUE; got 'lr'"):
            refused("lr")
