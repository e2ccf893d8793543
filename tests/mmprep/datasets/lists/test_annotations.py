import logging
from dataclasses import replace
from functools import partial

import pytest

from mmprep.datasets import spec
from mmprep.datasets.lists import Listed, Lists, read
from mmprep.errors import ConfigError, DataError, UnknownName
from tests.support.listmaker import K400, listed


@pytest.fixture
def given(tmp_path):
    return partial(listed, tmp_path)


@pytest.mark.parametrize(
    ("name", "lists", "message"),
    [
        (
            "kinetics-sounds",
            {"train__csv": K400 + "singing,aaa\n"},
            r"train\.csv, line 2.*singing,aaa",
        ),
        ("kinetics-sounds", {"train__csv": "x,y\n"}, r"train\.csv, line 1: expected the columns"),
        ("kinetics-sounds", {"my_train__txt": "aaaaaaaaaaa_1,10,31\n"}, r"my_train\.txt, line 1"),
        ("kinetics-sounds", {"KS__json": "<html>"}, r"KS\.json: no JSON database"),
        ("crema-d", {"train__csv": "a,b\nc,d\n", "test__csv": ""}, r"line 2: names no clip: 'c,d'"),
        ("vggsound", {"vggsound__csv": "aaaaaaaaaaa,x,zebra,train\n"}, "line 1: expected id,start"),
        (
            "vggsound",
            {"test__csv": "aaaaaaaaaaa_1.mp4,zebra\n"},
            "'zebra' is none of its 309 classes",
        ),
        ("vggsound", {"test__csv": b"\xff\xfe\n"}, "get the list again"),
        (
            "ave",
            {"trainSet__txt": "Cat&a&good&0\n", "valSet__txt": ""},
            "line 1: expected Category",
        ),
        ("ave", {"trainSet__txt": "Lynx&a&good&0&1\n", "valSet__txt": ""}, "'Lynx' is no class"),
    ],
)
def test_a_malformed_line_names_file_line_and_text(given, name, lists, message):
    with pytest.raises(DataError, match=message):
        given(name, testSet__txt="", **lists)


@pytest.mark.parametrize(
    "name", ["kinetics-sounds", "crema-d", "vggsound", "ucf-101", "ave", "nvgesture"]
)
def test_a_missing_list_names_the_file_its_source_and_its_place(tmp_path, name):
    with pytest.raises(ConfigError, match="https://") as caught:
        read(Lists(tmp_path, None), spec.load(name))
    assert "--annotations" in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_lists_are_found_at_any_depth_in_any_case(tmp_path):
    deep = tmp_path / "AVE" / "data"
    deep.mkdir(parents=True)
    for split in ("trainset", "VALSET", "testSet"):
        (deep / f"{split}.txt").write_text(f"Cat&{split.upper():_<11}&good&0&4\n")
    clips = read(Lists(None, tmp_path), spec.load("ave"))
    assert [clip.split for clip in clips] == ["train", "val", "test"]


def test_two_different_lists_of_one_name_are_refused(tmp_path):
    for folder, text in (("a", "1088_IOM_NEU_XX,NEU\n"), ("b", "1089_IOM_NEU_XX,NEU\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.csv").write_text(text)
    with pytest.raises(ConfigError, match="different lists of one name"):
        read(Lists(tmp_path, None), spec.load("crema-d"))


def test_a_repeated_line_counts_once_and_a_contradiction_is_refused(given, caplog):
    row = "---g-f_I2yQ,1,people marching,test\n"
    assert len(given("vggsound", vggsound__csv=row + row)) == 1
    assert "1 repeated lines" in caplog.text
    with pytest.raises(DataError, match="twice"):
        given("vggsound", vggsound__csv=row + "---g-f_I2yQ,1,people marching,train\n")


def test_counts_that_differ_from_the_official_ones_are_said(tmp_path, caplog):
    (tmp_path / "vggsound.csv").write_text("---g-f_I2yQ,1,people marching,test\n")
    with caplog.at_level(logging.WARNING):
        read(Lists(tmp_path, None), spec.load("vggsound"))
    assert "official: 183730 train" in caplog.text
    assert "no clip of 308 classes" in caplog.text


def test_an_unknown_reader_offers_the_nearest():
    with pytest.raises(UnknownName, match="did you mean kinetics"):
        read(Lists(None, None), replace(spec.load("ave"), reader="kinetic"))


def test_what_readers_give_is_a_value():
    clip = Listed(key="a", label="b", split="train", names={"video": ("a",)})
    assert clip == replace(clip)
    assert clip.extra == {}
