"""scores.h5: a row an epoch, whatever kills the writer."""

import shutil

import h5py
import numpy as np
import pytest

from mmtrain.data import open_dataset
from mmtrain.errors import DataError
from mmtrain.training import scores
from tests.support.scorekiller import moments_of, rows, write


@pytest.fixture
def dataset(shards):
    with open_dataset(str(shards)) as dataset:
        yield dataset


def check(columns, dataset, epochs):
    ids = dataset.ids("train")
    assert columns["key"].tolist() == dataset.index.key[ids].tolist()
    assert set(columns) == {"key", "visits", "score", "loss"}
    for name in ("score", "loss"):
        expected = [rows(epoch, len(ids))[name] for epoch in range(epochs)]
        assert np.array_equal(columns[name], expected)
        assert columns[name].dtype == np.float32
    assert columns["visits"].sum(1).tolist() == [1 + epoch for epoch in range(epochs)]
    return True


def old_file(folder, dataset, epochs):
    """Such a file as earlier versions wrote, which holds the rows itself."""
    ids = dataset.ids("train")
    with h5py.File(folder / "scores.h5", "w") as file:
        file["key"] = dataset.index.key[ids]
        for name in ("score", "loss"):
            file[name] = np.stack([rows(epoch, len(ids))[name] for epoch in range(epochs)])
        visits = np.zeros((epochs, len(ids)), np.uint32)
        for epoch in range(epochs):
            visits[epoch, : 1 + epoch] = 1
        file["visits"] = visits


def test_rows_are_read_as_whole_datasets_by_h5py(dataset, tmp_path):
    for epoch in range(3):
        write(dataset, tmp_path, epoch)
    with h5py.File(tmp_path / "scores.h5") as file:
        assert check({name: file[name][:] for name in file}, dataset, 3)
    assert check(scores.read(tmp_path / "scores.h5"), dataset, 3)


def test_an_epoch_writes_its_own_row_only(dataset, tmp_path):
    for epoch in range(2):
        write(dataset, tmp_path, epoch)
    before = {p: p.stat().st_ino for p in (tmp_path / "scores").iterdir()}
    write(dataset, tmp_path, 2)
    after = {p: p.stat().st_ino for p in (tmp_path / "scores").iterdir()}
    assert after.items() > before.items()
    assert len(after) == len(before) + 1


def test_a_row_written_again_drops_the_later_ones(dataset, tmp_path):
    for epoch in (0, 1, 2, 1):
        write(dataset, tmp_path, epoch)
    assert check(scores.read(tmp_path / "scores.h5"), dataset, 2)
    assert len([*(tmp_path / "scores").glob("epoch-*")]) == 2


def test_files_of_earlier_versions_are_read_and_go_on(dataset, tmp_path):
    old_file(tmp_path, dataset, 2)
    assert check(scores.read(tmp_path / "scores.h5"), dataset, 2)
    write(dataset, tmp_path, 2)
    assert check(scores.read(tmp_path / "scores.h5"), dataset, 3)


def test_a_view_that_has_lost_its_rows_is_bad_data(dataset, tmp_path):
    write(dataset, tmp_path, 0)
    shutil.copy(tmp_path / "scores.h5", tmp_path / "alone.h5")
    (tmp_path / "scores").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"alone\.h5: lacks scores/.*copy both"):
        scores.read(tmp_path / "alone.h5")


@pytest.mark.slow
def test_whatever_kills_the_writer_the_rows_before_are_there(dataset, shards, tmp_path):
    (tmp_path / "base.2").mkdir()
    for epoch in range(2):
        write(dataset, tmp_path / "base.2", epoch)
    (tmp_path / "base.1").mkdir()
    old_file(tmp_path / "base.1", dataset, 1)

    moments = moments_of(shards, tmp_path, (0, 1, 2))

    # Each file is synced, and then its folder; the first time also the folder of rows and the keys.
    assert moments == {0: 1 + 3 * 2, 1: 1 + 4 * 2, 2: 2 * 2}
    for before, count in moments.items():
        for moment in range(1, count + 1):
            path = tmp_path / f"{before}.{moment}" / "scores.h5"
            if before:
                rows_there = len(scores.read(path)["visits"])
                assert rows_there in (before, before + 1)
                assert check(scores.read(path), dataset, rows_there)
            write(dataset, path.parent, before)
            assert check(scores.read(path), dataset, before + 1)
