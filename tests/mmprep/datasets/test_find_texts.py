"""Clips whose lists hold texts, targets or questions, and arrays that lie in one file."""

from dataclasses import replace

import pytest

from mmprep.datasets import spec
from mmprep.datasets.find import find
from mmprep.errors import ConfigError, UnknownName
from mmprep.manifest import Listed, Question

TWEETS = replace(
    spec.load("folder"),
    name="tweets",
    sources={"image": ("jpg",), "text": ("txt",), "words": ("npz",)},
    optional=("words",),
)
QUESTION = Question(id="1", text="How many?", label="two", group="Counting")


def listed(**changes):
    names = {"image": ("17",), "text": ("17",), "words": ("features#17",)}
    plain = {"key": "17", "label": "x", "split": "train", "names": names}
    return Listed(**(plain | changes))


def test_targets_groups_texts_and_questions_come_from_the_list():
    clip = listed(target=(0.5,), group="g", texts={"text": "hi"})
    (row,) = find([clip], ["a/17.jpg"], TWEETS).rows
    assert (row.target, row.group, row.texts) == ((0.5,), "g", {"text": "hi"})
    asked = listed(label="", questions=(QUESTION,), texts={"text": "hi"})
    (row,) = find([asked], ["a/17.jpg"], TWEETS).rows
    assert row.questions == (QUESTION,)


def test_a_text_of_the_list_needs_no_file_and_a_lacking_one_does():
    assert len(find([listed(texts={"text": "hi"})], ["a/17.jpg"], TWEETS).rows) == 1
    clips = find([listed()], ["a/17.jpg"], TWEETS)
    assert not clips.rows
    assert clips.missing[0].message == "no text file named 17"
    (row,) = find([listed()], ["a/17.jpg", "a/17.txt"], TWEETS).rows
    assert row.sources == {"image": "a/17.jpg", "text": "a/17.txt"}


def test_arrays_of_one_file_keep_their_names():
    (row,) = find([listed()], ["17.jpg", "17.txt", "deep/features.npz"], TWEETS).rows
    assert row.sources["words"] == "deep/features.npz#17"
    whole = listed(names={**listed().names, "words": ("deep/features.npz#train/17",)})
    (row,) = find([whole], ["17.jpg", "17.txt", "deep/features.npz"], TWEETS).rows
    assert row.sources["words"] == "deep/features.npz#train/17"


@pytest.mark.parametrize(
    "changes",
    [
        {"texts": {"text": "half \ud83d"}},
        {"label": "", "questions": (replace(QUESTION, text="\udc00"),)},
    ],
)
def test_half_a_surrogate_pair_is_a_failure_of_its_clip_alone(changes):
    other = replace(listed(texts={"text": "whole 👧"}), key="18")
    clips = find([listed(**changes), other], ["17.jpg", "17.txt"], TWEETS)
    assert [row.key for row in clips.rows] == ["18"]
    assert [(f.key, f.cause) for f in clips.refused] == [("17", "not-utf-8")]
    clips.refused[0].message.encode()


def test_the_task_of_a_data_set_is_one_that_exists(tmp_path):
    path = tmp_path / "mine.toml"
    head = 'title = "t"\nmodalities = ["visual"]\nreader = "folder"\nlicence = "none"\n'
    tables = '[parts]\nnames = ["frames"]\n[sources]\nvideo = "any"\n'
    path.write_text(head + tables)
    assert spec.load(str(path)).task == "classification"
    path.write_text(head + 'task = "regression"\n' + tables)
    assert spec.load(str(path)).task == "regression"
    for wrong in ('"ranking"', "3", '["regression"]'):
        path.write_text(f"{head}task = {wrong}\n{tables}")
        with pytest.raises((UnknownName, ConfigError), match=r"mine\.toml.*no task"):
            spec.load(str(path))
