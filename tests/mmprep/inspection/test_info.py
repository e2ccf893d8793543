import io
import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from mmprep.errors import DataError
from mmprep.failure import Failure
from mmprep.format import FAILURES
from mmprep.html.markup import Markup, el
from mmprep.inspection.info import part_bytes, print_summary, summarise
from mmprep.inspection.losses import losses_of
from mmprep.inspection.page import data_set_page
from mmprep.inspection.page.excerpt import failure_examples
from mmprep.manifest import Row
from tests.support.rowmaker import clips_with_questions, make_rows
from tests.support.shardmaker import LABELS, Recipe, make_shards

_VOID = {"br", "img", "meta"}


class _Page(HTMLParser):
    """Elements with their attributes, and texts; notes whether every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def test_summary_by_hand(tmp_path):
    # 8 samples: splits train train val test, twice; 4 classes in turn, so each class lies in one
    # split and position: 0 and 1 in train, 2 in val, 3 in test, two samples each.
    summary = summarise(make_shards(tmp_path))

    assert summary["samples"] == 8
    assert summary["splits"] == {"train": 4, "val": 2, "test": 2}
    assert list(summary["classes"].values()) == [
        {"train": 2, "val": 0, "test": 0},
        {"train": 2, "val": 0, "test": 0},
        {"train": 0, "val": 2, "test": 0},
        {"train": 0, "val": 0, "test": 2},
    ]
    assert summary["shards"] == 3
    assert summary["bytes"] == sum(path.stat().st_size for path in tmp_path.rglob("*.tar"))
    assert summary["failures"] == {"corrupt": 1, "missing": 2}
    assert summary["failed"] == 3
    assert summary["parts"]["frames"]["members"] == 80
    assert summary["parts"]["json"]["members"] == 8
    assert summary["parts"]["frames"]["parameters"]["fps"] == 1
    assert json.loads(json.dumps(summary)) == summary


def test_bytes_by_part_are_those_of_the_members(tmp_path):
    shards = make_shards(tmp_path, Recipe(samples=7))
    one_by_one = dict.fromkeys(shards.index.parts, 0)
    for row in range(len(shards.index)):
        for part, members in shards.read(row).items():
            one_by_one[part] += sum(map(len, members))

    found = dict(zip(shards.index.parts, part_bytes(shards.index).tolist(), strict=True))

    assert found == one_by_one


def test_bytes_add_up_over_pieces_and_absent_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("mmprep.inspection.info._CHUNK", 3)
    monkeypatch.setattr("tests.support.shardmaker._motion", lambda recipe: [])
    index = make_shards(tmp_path, Recipe(samples=8)).index

    assert part_bytes(index).sum() == index.size.sum(dtype=np.int64)
    assert part_bytes(index)[index.parts.index("flow")] == 0


def test_an_empty_data_set_has_a_summary_and_a_page(tmp_path):
    shards = make_shards(tmp_path, Recipe(samples=0, failures=()))

    assert summarise(shards)["samples"] == 0
    _Page(data_set_page(shards))


def _printed(summary) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_summary(summary, console)
    return console.file.getvalue()


def test_printed_summary_shows_names_as_they_are(tmp_path):
    printed = _printed(summarise(make_shards(tmp_path)))

    for expected in (*LABELS, "barnyard", "8 samples of 4 classes", "missing", "spectrogram"):
        assert expected in printed


def test_printed_summary_of_many_classes_is_short(tmp_path):
    labels = tuple(f"class {i}" for i in range(309))
    printed = _printed(summarise(make_shards(tmp_path, Recipe(labels=labels, parts=("frames",)))))

    assert len(printed.splitlines()) < 50
    assert "289 more" in printed


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(parts=("frames",), labels=LABELS[:2]),
        Recipe(parts=("spectrogram",)),
        Recipe(parts=("flow",), fields=2),
        Recipe(parts=("depth",), size=(28, 28), frames=1),
        Recipe(labels=tuple(f"<class> {i}" for i in range(309))),
    ],
    ids=["usual", "frames, 2 classes", "spectrogram", "flow", "depth", "309 classes"],
)
def test_the_page_is_whole_and_needs_nothing_else(tmp_path, recipe):
    page = _Page(data_set_page(make_shards(tmp_path, recipe), thumbnails=5))

    for _, attributes in page.elements:
        assert not {"href", "srcset", "action"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
    pictures = page.all("img")
    assert all(picture["src"].startswith("data:image/") for picture in pictures)
    assert all(picture["alt"] for picture in pictures)
    assert len([f for f in page.all("figure") if "class" not in f]) == 5
    assert "http" not in "".join(page.texts)
    assert not page.all("script")


def test_the_page_escapes_what_lists_and_failures_say(tmp_path):
    text = data_set_page(make_shards(tmp_path))
    page = _Page(text)

    assert "<b>dog</b>" not in text
    assert "&lt;b&gt;dog&lt;/b&gt;" in text
    assert "<i>.mp4" in page.texts
    for label in LABELS:
        assert label in page.texts


def test_the_page_says_how_many_records_were_read(tmp_path, monkeypatch):
    monkeypatch.setattr("mmprep.inspection.page.excerpt._RECORDS", 5)
    text = " ".join(_Page(data_set_page(make_shards(tmp_path))).texts)

    assert "read: 5 of the 8 records, at random" in text


def test_the_page_is_a_function_of_the_seed(tmp_path):
    shards = make_shards(tmp_path, Recipe(samples=12))
    first, again, other = (data_set_page(shards, thumbnails=3, seed=seed) for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_records_without_times_or_checks_leave_their_sections_out(tmp_path):
    page = _Page(data_set_page(make_shards(tmp_path, duration_s=None, checks=None, decoder=None)))

    assert "Samples by class" in page.texts
    assert "Duration of the clips" not in page.texts
    assert "Unusual clips" not in page.texts


def test_clips_of_one_length_have_a_histogram(tmp_path):
    page = _Page(data_set_page(make_shards(tmp_path, duration_s=10.0)))

    assert any("10.00 s, longest 10.00 s" in text for text in page.texts)


def test_examples_are_the_first_of_each_cause(tmp_path):
    shards = make_shards(tmp_path)

    found = failure_examples(shards)

    assert [failure["key"] for failure in found["missing"]] == ["a", "b"]
    assert [failure["key"] for failure in found["corrupt"]] == ["c"]


def test_a_torn_failure_line_is_bad_data(tmp_path):
    shards = make_shards(tmp_path)
    (tmp_path / FAILURES).write_text('{"cause": "missing", "key": "a"}\n{"cau')

    with pytest.raises(DataError, match=r"failures\.jsonl, line 2"):
        data_set_page(shards)


def test_markup_escapes_text_and_attributes_once():
    inner = el("b", 'a < "b"', class_="x", data_key="it's <i>")

    assert inner == '<b class="x" data-key="it&#x27;s &lt;i&gt;">a &lt; &quot;b&quot;</b>'
    assert el("p", inner, None, Markup("&amp;")) == f"<p>{inner}&amp;</p>"
    assert el("p", "lone \udc80") == "<p>lone ?</p>"


def test_summary_counts_clips_questions_and_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("mmprep.inspection.info._CHUNK", 2)
    shards = make_rows(tmp_path, clips_with_questions(), task="answers")
    summary = summarise(shards)

    assert (summary["task"], summary["samples"], summary["clips"]) == ("answers", 13, 7)
    # Twelve questions, by turns of both types within each clip, and a clip without one.
    assert summary["groups"] == {"": 1, "Audio Counting": 8, "Visual Location": 4}
    assert {n: p["members"] for n, p in summary["parts"].items()} == {
        "json": 7,
        "frames": 21,
        "spectrogram": 7,
        "question": 13,
    }
    assert sum(p["bytes"] for p in summary["parts"].values()) == shards.index.size.sum()
    printed = _printed(summary)
    assert "13 samples of 3 classes about 7 clips" in printed
    assert "Visual Location" in printed
    _Page(data_set_page(shards))


def test_summary_gives_the_range_of_the_targets(tmp_path):
    plain = {"label": "x", "split": "train", "sources": {"video": "a.mp4"}}
    rows = [Row(key=f"k{i}", target=(i - 1.5,), **plain) for i in range(4)]
    summary = summarise(make_rows(tmp_path, rows, parts=("frames",), task="regression"))

    assert summary["targets"] == {"values": 1, "least": -1.5, "mean": 0.0, "largest": 1.5}
    assert "targets of regression: values 1, least -1.5, mean 0, largest 1.5" in _printed(summary)


def test_losses_count_clips_and_not_their_questions(tmp_path):
    rows = clips_with_questions(9, alone=0)
    gone = [
        Failure.of(replace(row, key=f"gone{n}"), "x.mp4", "find", "missing", "no file")
        for n in range(4)
        for row in rows
        if row.split == "val"
    ]
    shards = make_rows(tmp_path, rows, absent=gone)

    (loss,) = losses_of(shards)
    assert (loss.kind, loss.name, loss.samples, loss.listed) == ("split", "val", 3, 15)
