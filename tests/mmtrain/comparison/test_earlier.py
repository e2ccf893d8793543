"""A second comparison in one folder adds to the table of the first."""

import json

import pytest

from mmtrain.comparison.compare import compare
from mmtrain.comparison.entrants import seeds_of
from mmtrain.errors import ConfigError
from tests.support.evalwork import contest


@pytest.fixture(scope="module")
def folder(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("earlier")
    compare(contest(shards, "joint", "multitask", seeds=(0, 1)), folder)
    return folder


def test_other_methods_join_the_rows_that_are_there(folder, shards):
    first = {row["label"]: row for row in json.loads((folder / "table.json").read_text())["rows"]}

    table = compare(contest(shards, "ogm-ge"), folder)

    assert [row["label"] for row in table["rows"]] == ["ogm-ge", "joint", "multitask"]
    # A finding is corrected for the number of rows, which has grown.
    alone = [{**row, "against": None} for row in table["rows"][1:]]
    assert alone == [{**first[label], "against": None} for label in ("joint", "multitask")]
    assert table["earlier"] == ["joint", "multitask"]
    page = (folder / "table.md").read_text()
    assert "From earlier commands in this folder: joint, multitask." in page
    assert json.loads((folder / "table.json").read_text()) == table


def test_other_seeds_join_the_row_that_is_there(folder, shards):
    table = compare(contest(shards, "joint", seeds=(2,)), folder)

    row = next(row for row in table["rows"] if row["label"] == "joint")
    assert row["seeds"] == [2, 0, 1]
    accuracies = [
        json.loads((folder / "joint" / f"seed-{seed}" / "result.json").read_text())
        for seed in (2, 0, 1)
    ]
    mean = sum(result["test"]["accuracy"] for result in accuracies) / 3
    assert row["accuracy"]["mean"] == pytest.approx(mean)
    assert "multitask" in table["earlier"]


def test_seeds_of_other_settings_do_not_join(folder, shards):
    with pytest.raises(ConfigError, match=r"joint/seed-0 holds another run: optimizer\.lr"):
        compare(contest(shards, "joint", seeds=(7,), settings=("lr=0.3",)), folder)
    assert not (folder / "joint" / "seed-7").exists()


def test_the_setting_of_an_earlier_row_is_still_named(shards, tmp_path):
    tuned = compare(contest(shards, "joint", tune=("lr=0.05,0.01",)), tmp_path)["rows"][0]

    table = compare(contest(shards, "multitask"), tmp_path)

    assert table["rows"][1]["setting"] == tuned["setting"]
    assert f"- joint: {tuned['setting']}" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize(
    ("texts", "seeds"),
    [(["0"], [0]), (["0-2"], [0, 1, 2]), (["5", "1-2"], [5, 1, 2]), (["3-3"], [3]), (["-1"], [-1])],
)
def test_seeds_are_numbers_or_ranges(texts, seeds):
    assert seeds_of(texts) == seeds


@pytest.mark.parametrize("text", ["x", "2-0", "1-", "1.5", ""])
def test_other_texts_are_no_seeds(text):
    with pytest.raises(ConfigError, match="0,1,2 or the range 0-2"):
        seeds_of([text])
