"""Targets, groups, texts and questions of rows, in memory, as JSON and as CSV."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmprep.errors import DataError
from mmprep.format.fields import build
from mmprep.manifest import Question, Row, check_rows, read_csv, source_file, write_csv

QUESTIONS = (
    Question(id="12", text="Is the cello louder, than the flute?", label="yes", group="Audio"),
    Question(id="a_3", text="多少?\nHow many", label="two"),
)


def row(**changes):
    return Row(
        **({"key": "a", "label": "x", "split": "train", "sources": {"video": "a.mp4"}} | changes)
    )


ROWS = {
    "regression": [row(target=(-1.6,), label="-2"), row(key="b", target=(3.0,), label="3")],
    "segments": [row(target=(0.0, 4.0, 4.0)), row(key="b", target=(1.0, 1.0, 0.0))],
    "groups": [row(group="Audio Counting"), row(key="b")],
    "questions": [row(label="", questions=QUESTIONS), row(key="b")],
    "texts": [
        row(texts={"text": '  two\r\nlines, "quoted" 👩‍👩‍👧 ', "target": "שלום"}),
        row(key="b", sources={"image": "b.jpg", "text": "b.txt"}),
        row(key="c", sources={}, texts={"text": "text alone"}),
    ],
    "arrays": [row(sources={"speech": "x.npz#a/b", "words": "m.pkl#valid/text/17"})],
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_rows_survive_csv_and_json(tmp_path, rows):
    write_csv(rows, tmp_path / "m.csv")
    assert read_csv(tmp_path / "m.csv") == rows
    assert [build(Row, json.loads(json.dumps(r.to_json()))) for r in rows] == rows


def test_json_of_a_row_without_them_is_as_it_was():
    assert list(row().to_json()) == ["key", "label", "split", "sources", "start", "end", "extra"]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1))
@example("\r")
@example('"')
def test_any_text_survives_csv(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("csv") / "m.csv"
    rows = [row(texts={"text": text})]
    write_csv(rows, path)
    assert read_csv(path) == rows


def test_csv_refuses_an_empty_text_because_it_would_read_as_none(tmp_path):
    with pytest.raises(DataError, match=r"a: CSV holds no empty text"):
        write_csv([row(texts={"text": ""})], tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("columns", "cells", "message"),
    [
        ("target_value", "1.5 x", "line 2: the target value 'x' is no number"),
        ("target_value", "nan", "not all finite"),
        ("questions", "[", "line 2, column `questions`: no list"),
        ("questions", "{}", "line 2, column `questions`: no list"),
        ("questions", '"[{""id"": ""1""}]"', "lacks the field 'label'"),
        ("questions", '"[{""id"":1,""text"":"""",""label"":""x""}]"', "id: 1 where"),
    ],
)
def test_a_malformed_cell_is_named(tmp_path, columns, cells, message):
    path = tmp_path / "m.csv"
    path.write_text(f"label,video,{columns}\nx,a.mp4,{cells}\n")
    with pytest.raises(DataError, match=message):
        read_csv(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": {"caption": "x"}}, "a text 'caption', which is none of text, target"),
        ({"questions": QUESTIONS}, "has no label, group or target of its own"),
        ({"label": "", "questions": QUESTIONS[:1] * 2}, "two questions have one id"),
        ({"label": "", "questions": (Question(id="a-q1", text="", label="x"),)}, "'a-q1' may hold"),
        (
            {"key": "k" * 79, "label": "", "questions": QUESTIONS},
            "of a question is longer than 80",
        ),
        ({"group": "a\0b"}, "a NUL in the group"),
    ],
)
def test_rows_that_cannot_be_written_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        check_rows([row(**changes)], "here")


def test_all_rows_need_as_many_target_values():
    with pytest.raises(DataError, match="b: 0 target values, where a has 2"):
        check_rows([row(target=(1.0, 2.0)), row(key="b")], "here")


def test_a_key_may_not_be_that_of_another_clips_question():
    with pytest.raises(DataError, match=r"'a-q12' stands twice"):
        check_rows([row(label="", questions=QUESTIONS), row(key="a-q12")], "here")


def test_only_pictures_and_arrays_have_a_name_behind_the_file():
    assert source_file("image", "train-idx3-ubyte#7") == "train-idx3-ubyte"
    assert source_file("words", "m.pkl#valid/text/17") == "m.pkl"
    assert source_file("video", "take#2.mp4") == "take#2.mp4"
