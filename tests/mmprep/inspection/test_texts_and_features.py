"""Pictures and pages show texts of any script, feature sequences, segments and what is lacking."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from mmprep.errors import DataError
from mmprep.inspection.page import data_set_page
from mmprep.inspection.picture import draw
from mmprep.inspection.picture.features import standardised
from mmprep.inspection.picture.header import Header, chips, facts
from mmprep.inspection.picture.segments import runs_of
from mmprep.inspection.picture.view import Asked, View
from mmprep.inspection.picture.words import QuestionPanel, TextPanel, wrapped
from tests.support.rowmaker import TYPES, clips_with_questions, make_rows
from tests.support.shardmaker import Recipe, make_shards

PARTS = ("frames", "text", "target", "question", "speech", "face", "words")
ONE = Recipe(parts=("text", "words"), frames=1)


def size_of(png: bytes, tmp_path: Path) -> int:
    (tmp_path / "sample.png").write_bytes(png)
    height, width = imread(tmp_path / "sample.png").shape[:2]
    assert width == 1600
    return int(height)


@pytest.mark.parametrize("number", range(5))
def test_texts_of_any_script_and_sequences_are_drawn(tmp_path: Path, number: int) -> None:
    shards = make_shards(tmp_path / "set", Recipe(parts=PARTS, frames=1))
    assert size_of(draw(shards, f"clip_{number:04d}"), tmp_path) > 1000


def test_each_part_adds_a_panel(tmp_path: Path) -> None:
    heights = [
        size_of(
            draw(make_shards(tmp_path / str(n), Recipe(parts=PARTS[:n])), "clip_0000"), tmp_path
        )
        for n in range(1, len(PARTS) + 1)
    ]
    assert heights == sorted(set(heights))


def lines(text: str) -> list[str]:
    return TextPanel(title="Text", text=text).lines


def test_what_the_font_lacks_is_drawn_as_an_escape() -> None:
    assert lines("Zürich é😀 ж") == ["Zürich é😀 ж"]
    assert lines("今日") == ["\\u4eca\\u65e5"]
    assert lines("a\r\nb\tc\x1b[31m\u202e") == ["a\\r", "b\\tc\\x1b[31m\\u202e"]
    assert lines("") == [""]


def test_lines_are_wrapped_at_blanks_and_never_inside_an_escape() -> None:
    assert list(wrapped("aa bb cc dd", 5)) == ["aa bb", "cc dd"]
    assert list(wrapped("aaaaaaa b", 3)) == ["aaa", "aaa", "a b"]
    assert list(wrapped(["\\u4eca"] * 3, 13)) == ["\\u4eca\\u4eca", "\\u4eca"]
    assert list(wrapped("", 5)) == [""]
    for width in (7, 20, 140):
        text = "and so on " * 40
        assert " ".join(wrapped(text, width)).split() == text.split()
        assert max(map(len, wrapped(text, width))) <= width


def test_a_long_text_ends_in_a_note() -> None:
    shown = lines("line\n" * 100)
    assert len(shown) == 14
    assert shown[-1] == "… 88 more lines"


def test_features_are_shown_in_their_own_deviations() -> None:
    # Means 2 and 5, deviations 1 and 0.
    values = np.array([[1, 5], [3, 5]], np.float32)
    assert standardised(values).tolist() == [[-1, 0], [1, 0]]
    largest = np.array([[1e38], [-1e38]], np.float32)
    assert standardised(largest).tolist() == [[1], [-1]]


def test_segments_of_one_class_are_one_box() -> None:
    runs = runs_of([0, 0, 2, 2, 2, 0], ("background", "bell", "cat"))
    assert [(run.name, run.first, run.count) for run in runs] == [
        ("background", 0, 2),
        ("cat", 2, 3),
        ("background", 5, 1),
    ]
    assert runs[0].colour == runs[2].colour != runs[1].colour
    assert [run.name for run in runs_of([0.5, 9], ("a",))] == ["0.5", "9"]


def test_segments_are_drawn(tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "set", ONE, target=[0, 0, 1, 3, 3])
    without = make_shards(tmp_path / "other", ONE)
    assert size_of(draw(shards, "clip_0000"), tmp_path) > size_of(
        draw(without, "clip_0000"), tmp_path
    )
    page = data_set_page(shards)
    assert 'class="segments"' in page
    assert "flex:2;" in page


def test_the_questions_about_a_clip_are_listed(tmp_path: Path) -> None:
    with make_rows(
        tmp_path / "set", clips_with_questions(6), parts=("question",), task="answers"
    ) as shards:
        view = View.of(shards, "clip5-q51")
        assert [(asked.text, asked.own) for asked in view.questions] == [
            ("How many? 5 0", False),
            ("How many? 5 1", True),
            ("How many? 5 2", False),
        ]
        # (5 + n) % 3 of no, two, yes.
        assert [asked.answer for asked in view.questions] == ["yes", "no", "two"]
        assert [asked.group for asked in view.questions][:2] == list(TYPES)
        assert ("group", TYPES[1]) in list(facts(view))
        assert size_of(draw(shards, "clip5-q51"), tmp_path) > size_of(
            draw(shards, "clip0-q0"), tmp_path
        )
        # A question of the list is a text like any other where its clip has no more.
        assert View.of(shards, "alone0").questions == []
        page = data_set_page(shards)
    assert '<b dir="auto">How many? 5 1</b> → no' in page
    assert '<span dir="auto">How many? 5 0</span> → yes' in page
    assert "Is it alone?" in page
    assert "the question and the questions about it" in page


def test_many_questions_include_the_samples_own() -> None:
    asked = [Asked(text=f"{i}", answer="a", group="", own=i == 30) for i in range(40)]
    assert [each.text for each in QuestionPanel(questions=asked)._shown] == [
        *map(str, range(13)),
        "30",
    ]


def test_a_score_and_what_is_lacking_are_named(tmp_path: Path) -> None:
    checks = {"nonfinite": 3, "clipped": 0}
    shards = make_shards(tmp_path / "set", ONE, target=[-1.25], missing=["speech"], checks=checks)
    view = View.of(shards, "clip_0000")
    assert ("target", "-1.25") in list(facts(view))
    assert view.missing == ["speech"]
    assert list(chips(view.checks)) == [
        ("values that were no numbers, now 0: 3", False),
        ("no feature too large", True),
    ]
    assert Header(view=view).height > 0
    page = data_set_page(shards)
    assert "target -1.25" in page
    assert "lacks speech" in page
    assert "values of features were infinite" in page


def test_a_page_shows_texts_in_their_own_direction(tmp_path: Path) -> None:
    page = data_set_page(make_shards(tmp_path / "set", Recipe(parts=PARTS, frames=1)))
    for text in ("今日はとても良い天気です", "مرحبا بالعالم", "&lt;b&gt;lovely&lt;/b&gt; &amp;"):
        assert text in page
    assert '<div dir="auto">مرحبا' in page
    assert "(no letters)" in page
    # Marks that turn the direction, and control characters, would change what stands around them.
    assert "\\x1b[31mred\\u202e" in page
    assert "\u202e" not in page
    assert "the picture from the middle of the clip, the text, the target, the question," in page
    assert 'alt="speech of clip_0000' in page


def test_a_text_that_is_not_utf_8_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.shardmaker.TEXTS", [Latin("café")])
    shards = make_shards(tmp_path / "set", ONE)
    with pytest.raises(DataError, match="clip_0000: the text is not UTF-8"):
        draw(shards, "clip_0000")


class Latin(str):
    """A text that encodes itself in another way."""

    def encode(self, encoding: str = "", errors: str = "") -> bytes:
        return str(self).encode("latin-1")


@pytest.mark.parametrize("shape", [(3,), (0, 4), (2, 2, 2)])
def test_a_sequence_of_another_shape_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    monkeypatch.setattr("tests.support.shardmaker._features", lambda i: np.zeros(shape, "f4"))
    shards = make_shards(tmp_path / "set", ONE)
    with pytest.raises(DataError, match="clip_0000: a words of shape"):
        draw(shards, "clip_0000")
