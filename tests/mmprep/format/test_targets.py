"""Targets, groups and parts that a sample lacks, in the index and in `dataset.json`."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmprep.errors import DataError
from mmprep.format import DATASET
from mmprep.format.index import Index
from mmprep.format.index_writer import write_index
from mmprep.format.tar import SampleEntry
from mmprep.inspection.verify import verify
from mmprep.manifest import Row
from mmtrain.data import open_dataset
from tests.support.rowmaker import make_rows

PARTS = ("frames", "spectrogram")


def rows(count: int = 5, **changes: object) -> list[Row]:
    plain = {"label": "x", "split": "train", "sources": {"video": "a.mp4"}}
    return [
        Row(
            key=f"k{i}",
            **plain,
            **{name: value(i) for name, value in changes.items()},  # type: ignore[operator]
        )
        for i in range(count)
    ]


def test_targets_lie_in_the_index_by_row(tmp_path: Path) -> None:
    made = rows(target=lambda i: (i / 3, -i))
    shards = make_rows(tmp_path / "out", made, parts=PARTS)
    index = shards.index
    assert shards.dataset.additions == index.additions == ("target",)
    assert index.target is not None
    assert index.target.dtype == np.float32
    for row in made:
        assert index.target[index.find(row.key)].tolist() == list(np.float32(row.target))
    assert verify(shards.store).problems == []


def test_groups_lie_in_the_index_by_name(tmp_path: Path) -> None:
    made = rows(group=lambda i: ("Zähler", "", "a b")[i % 3])
    index = make_rows(tmp_path / "out", made, parts=PARTS).index
    assert index.groups == ("", "Zähler", "a b")
    assert {row.key: index.group_name(index.find(row.key)) for row in made} == {
        row.key: row.group for row in made
    }


def test_a_sample_that_lacks_a_part_makes_format_2(tmp_path: Path) -> None:
    shards = make_rows(tmp_path / "out", rows(), parts=PARTS, lacking={"k3": "spectrogram"})
    assert shards.dataset.additions == ("missing",)
    assert shards.index.counts[shards.index.find("k3")].tolist() == [1, 3, 0]
    assert shards.read(shards.index.find("k3"))["spectrogram"] == []
    assert verify(shards.store).problems == []


def test_rows_without_any_of_it_are_of_format_1(tmp_path: Path) -> None:
    shards = make_rows(tmp_path / "out", rows(), parts=PARTS)
    plain = json.loads(shards.store.read(DATASET))
    assert plain["format"] == 1
    assert not {"task", "additions"} & set(plain)
    assert shards.index.additions == ()
    assert (shards.index.target, shards.index.group, shards.index.questions) == (None, None, None)


def test_a_task_of_its_own_makes_format_2(tmp_path: Path) -> None:
    made = rows(target=lambda i: (0.5,))
    shards = make_rows(tmp_path / "out", made, parts=PARTS, task="regression")
    plain = json.loads(shards.store.read(DATASET))
    assert (plain["format"], plain["task"], plain["additions"]) == (2, "regression", ["target"])


def test_training_sees_them_by_sample_id(tmp_path: Path) -> None:
    made = rows(target=lambda i: (float(i),), group=lambda i: f"g{i % 2}")
    make_rows(tmp_path / "out", made, parts=PARTS, task="regression").close()
    with open_dataset(tmp_path / "out") as data:
        assert (data.task, data.groups) == ("regression", ("g0", "g1"))
        assert data.target is not None
        assert data.group is not None
        for sample in range(len(data)):
            number = int(data.key(sample)[1:])
            assert data.target[sample].tolist() == [number]
            assert data.group[sample] == number % 2


def test_training_sees_none_in_an_older_data_set(tmp_path: Path) -> None:
    make_rows(tmp_path / "out", rows(), parts=PARTS).close()
    with open_dataset(tmp_path / "out") as data:
        assert (data.task, data.target, data.group, data.groups) == (
            *("classification", None, None),
            (),
        )


def test_unequal_targets_are_refused_when_they_are_written() -> None:
    entries = [
        SampleEntry(key=key, start=0, counts=(1,), sizes=(1,), crcs=(1,), target=target)
        for key, target in (("a", (1.0, 2.0)), ("b", (1.0,)))
    ]
    with pytest.raises(DataError, match="b has 1 target values"):
        write_index(
            ((entry, 0, 0, 0) for entry in entries),
            classes=("x",),
            splits=("train",),
            shards=("train/000000.tar",),
            parts=("json",),
        )


def test_an_index_without_samples_has_no_additions(tmp_path: Path) -> None:
    path = tmp_path / "index.h5"
    path.write_bytes(write_index([], classes=(), splits=(), shards=(), parts=("json",)))
    assert Index.open(path).additions == ()
