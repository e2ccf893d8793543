import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmprep.errors import DataError
from mmprep.format import (
    Dataset,
    ShardInfo,
    SplitInfo,
)
from mmprep.shards import read_dataset
from mmprep.storage.store import LocalStore

LABELS = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=20
).filter(lambda text: text == text.strip())


def dataset(**changes):
    plain = Dataset(
        name="tiny",
        title='Größe, "quoted" 犬',
        classes=("x, y", 'é "z"'),
        modalities=("audio", "visual"),
        parts={"names": ["frames"], "frames": {"fps": 1.0, "quality": 90}},
        splits={"train": SplitInfo(samples=2, classes={"x, y": 2})},
        shards=(ShardInfo(name="train/000000.tar", samples=2, bytes=9728, sha256="00" * 32),),
        failures={"corrupt": 1},
        files={"index.h5": "11" * 32},
        made_by={"mmprep": "0.1.0"},
        request={"raw": "videos", "seed": 0},
        licence="CC BY 4.0",
    )
    return replace(plain, **changes)


def test_description_gives_back_what_was_written():
    text = dataset().to_json()
    assert Dataset.from_json(text, "here") == dataset()
    assert Dataset.from_json(text, "here").to_json() == text


@given(classes=st.lists(LABELS, unique=True, max_size=4), title=LABELS)
def test_any_label_survives_the_description(classes, title):
    odd = dataset(
        classes=tuple(classes),
        title=title,
        splits={"train": SplitInfo(samples=1, classes=dict.fromkeys(classes, 1))},
    )
    assert Dataset.from_json(odd.to_json(), "here") == odd


def test_the_description_is_json_that_people_can_read():
    plain = json.loads(dataset().to_json())
    assert list(plain)[:2] == ["format", "root"]
    assert plain["format"] == 1
    assert "犬" in dataset().to_json()


def test_the_root_does_not_depend_on_where_the_clips_lay():
    moved = dataset(request={"raw": "/elsewhere", "seed": 1})
    assert moved.root == dataset().root
    assert moved.to_json() != dataset().to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ("x, y",)},
        {"parts": {"names": ["frames"], "frames": {"fps": 2.0, "quality": 90}}},
        {"failures": {}},
        {"files": {"index.h5": "22" * 32}},
        {"made_by": {"mmprep": "0.2.0"}},
        {"licence": ""},
    ],
)
def test_the_root_depends_on_everything_else(change):
    assert dataset(**change).root != dataset().root


def test_a_newer_format_is_refused_by_its_name():
    text = dataset().to_json().replace('"format": 1', '"format": 3', 1)
    with pytest.raises(DataError, match=r"here: format 3; this mmprep reads up to 2\. Upgrade"):
        Dataset.from_json(text, "here")


def test_a_newer_format_is_refused_even_where_nothing_else_is_known():
    with pytest.raises(DataError, match=r"here: format 3; this mmprep reads up to 2\. Upgrade"):
        Dataset.from_json('{"format": 3, "digest": "x"}', "here")


def test_a_data_set_is_of_format_2_only_where_it_uses_it():
    old = json.loads(dataset().to_json())
    assert old["format"] == 1
    assert not {"task", "additions"} & set(old)
    for changes in ({"task": "regression"}, {"additions": ("missing",)}):
        new = dataset(**changes)
        text = new.to_json()
        assert json.loads(text)["format"] == 2
        assert Dataset.from_json(text, "here") == new
        assert new.root != dataset().root
        # What an older mmprep checks first, and all it needs to refuse the data set by name.
        assert text.startswith('{\n "format": 2,\n')


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "ranking"}, "the task 'ranking' is none of classification, binary"),
        ({"additions": ("group", "target")}, "the additions are"),
        ({"additions": ("target", "target")}, "the additions are"),
        ({"additions": ("more",)}, "the additions are"),
    ],
)
def test_tasks_and_additions_that_do_not_exist_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        Dataset.from_json(dataset(**changes).to_json(), "here")


@pytest.mark.parametrize("name", ["../x.tar", "/x.tar", "train/../x.tar", ".x.tar", "", "a//b.tar"])
def test_files_that_lead_out_of_the_data_set_are_refused_by_name(name):
    shard = ShardInfo(name=name, samples=1, bytes=1, sha256="0")
    for hostile in (
        replace(dataset(), shards=(shard,)),
        replace(dataset(), files={name: "0"}),
    ):
        # Whoever made it knew how to make its hashes fit.
        with pytest.raises(DataError, match=re.escape(f"names {name!r}, which is no file")):
            Dataset.from_json(hostile.to_json(), "here")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"x"', "{}", '{"format": 1}'])
def test_what_is_no_description_is_refused(text):
    with pytest.raises(DataError, match="here: not a data set of this format"):
        Dataset.from_json(text, "here")


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_any_changed_byte_of_the_description_is_refused(tmp_path_factory, data):
    good = dataset().to_json().encode()
    at = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != good[at]))
    folder = tmp_path_factory.mktemp("changed")
    (folder / "dataset.json").write_bytes(good[:at] + bytes([other]) + good[at + 1 :])
    with pytest.raises(DataError, match=r"dataset\.json"):
        read_dataset(LocalStore(folder))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text + "\n",
        lambda text: text[:-1],
        lambda text: text.replace("犬", "\\ud800"),
        lambda text: text.replace('"seed": 0', '"seed": NaN'),
        lambda text: text.replace('"seed": 0', '"seed": ' + "[" * 5000 + "]" * 5000),
        lambda text: text.replace('"seed": 0', '"seed": 1' + "0" * 5000),
        lambda text: text.replace('"shards": [', '"shards": [3, '),
    ],
)
def test_other_damage_of_the_description_is_refused(damage):
    text = damage(dataset().to_json())
    assert text != dataset().to_json()
    with pytest.raises(DataError, match="here"):
        Dataset.from_json(text, "here")
