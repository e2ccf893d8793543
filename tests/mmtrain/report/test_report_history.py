"""Sections that need the history of runs: commands, single seeds, gaps to unimodal models."""

import json

import numpy as np
import pytest

from mmprep.html.charts import Line, lines
from mmtrain.report.render import report_page
from mmtrain.report.runs.groups import group_runs
from mmtrain.report.runs.read import read_runs
from mmtrain.report.sections.gaps import gaps
from tests.support.reportwork import Page, make_run
from tests.support.shardmaker import Recipe, make_shards

COMMAND = {
    "argv": ["mmtrain", "compare", "--out", "runs/my cmp"],
    "started": "2026-01-01T00:00:00+00:00",
    "ended": "2026-01-01T01:00:00+00:00",
    "device": "a <GPU>",
    "ranks": 2,
    "versions": {"torch": "2.11.0"},
    "commit": "0123abc",
}


def with_history(folder):
    plain = {"format": 1, "root": "deadbeef", "recipe": None, "commands": [COMMAND, COMMAND]}
    (folder / "run.json").write_text(json.dumps(plain))
    return folder


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """Joint training with two seeds, of which the first was probed, and a unimodal model."""
    root = tmp_path_factory.mktemp("cmp")
    make_shards(root / "shards", Recipe(frames=1, size=(32, 32), columns=40))
    place = str(root / "shards")
    joint = with_history(make_run(root / "joint" / "seed-0", (0.2, 0.4), data=place))
    lines_ = [{"epoch": 2, "split": "val", "accuracy": {"audio": 0.125}}]
    (joint / "probes.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines_))
    more = make_run(root / "joint" / "seed-1", (0.2, 0.4), seed=1, test=0.6, data=place)
    alone = make_run(root / "audio-alone" / "seed-0", (0.3, 0.7), modalities=("audio",), data=place)
    (root / "table.json").write_text("{}")
    return read_runs([joint, more, alone])


def test_the_page_has_command_versions_root_and_size_of_the_data(comparison):
    text = Page(report_page(comparison)).text
    assert text.count("mmtrain compare --out 'runs/my cmp'") == 1
    for fact in ("a <GPU>", "torch 2.11.0", "0123abc", "deadbeef", "train 4"):
        assert fact in text


def test_each_seed_has_a_mark(comparison):
    page = report_page(comparison)
    assert "accuracy, test (%), each seed, and their mean" in page
    for mark in ("seed 0: 40.00", "seed 1: 60.00"):
        assert mark in page


def test_gaps_by_hand(comparison):
    section = gaps(group_runs(comparison))
    # Alone .3 and .7; own logits of audio are half of the fused .2 and .4; the probe has .125.
    for text in ("gap of audio, own logits (points)", "joint: 20", "joint: 50"):
        assert text in section
    for text in ("gap of audio, probe (points)", "joint: 57.5"):
        assert text in section
    assert "visual" not in section


def test_without_a_unimodal_model_there_is_no_gap(comparison):
    assert gaps(group_runs(comparison[:2])) is None


def test_names_at_the_ends_of_lines_do_not_cover_each_other():
    x = np.arange(3.0)
    series = [Line(name=f"line {i}", style=i, x=x, y=x + i / 100) for i in range(3)]
    picture = str(lines("levels", series))
    places = [part.split('"')[0] for part in picture.split('class="end')[0:]]
    assert len(places) == 4
    tops = sorted(
        float(text.split(' y="')[1].split('"')[0])
        for text in picture.split("<text")
        if 'class="end' in text
    )
    assert min(np.diff(tops)) >= 12.9
    assert 'class="end' not in str(lines("alone", series[:1]))
