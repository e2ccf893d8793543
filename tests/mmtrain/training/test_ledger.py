import os

import numpy as np
import pytest

from mmtrain.errors import ConfigError, DataError
from mmtrain.evaluation.audit import audit
from mmtrain.training import ledger
from mmtrain.training.ledger import Ledger
from mmtrain.training.run import LEDGER
from mmtrain.training.train import train
from tests.support.enginework import small


def ids(*values):
    return np.array(values, np.int64)


def test_the_file_counts_what_was_flushed(tmp_path):
    kept = Ledger(tmp_path)
    kept.begin(3)
    kept.record(ids(5, 1))
    kept.flush()
    kept.record(ids(7))
    path = tmp_path / "epoch-00003.rank0.npy"
    assert np.load(path).tolist() == [5, 1]
    kept.close()
    assert np.load(path).tolist() == ledger.visits(tmp_path, 3).tolist() == [5, 1, 7]
    assert np.load(path).dtype == "<i8"


def test_going_on_keeps_what_the_checkpoint_counts(tmp_path):
    for kept, more in ((0, ids(5, 1, 7)), (2, ids(9))):
        book = Ledger(tmp_path)
        book.begin(0, kept)
        book.record(more)
        book.close()
    assert ledger.visits(tmp_path, 0).tolist() == [5, 1, 9]


def test_what_a_killed_run_visited_behind_its_checkpoint_is_dropped(tmp_path):
    for rank in range(3):
        book = Ledger(tmp_path, rank)
        for epoch in range(3):
            book.begin(epoch)
            book.record(ids(10 * epoch + rank, 7, 8))
        book.close()

    ledger.rewind(tmp_path, 1, [2, 1])

    assert ledger.visits(tmp_path, 0).tolist() == [0, 7, 8, 1, 7, 8, 2, 7, 8]
    assert ledger.visits(tmp_path, 1).tolist() == [10, 7, 11]
    assert ledger.visits(tmp_path, 2).tolist() == []
    assert ledger.visits(tmp_path, 1, [1]).tolist() == [10]


@pytest.fixture(scope="module")
def finished(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(small(shards), folder)
    return folder


@pytest.fixture
def planted(finished):
    """Changes the visits of the second epoch, and puts them back."""
    path = finished / LEDGER / ledger.name(1)
    before = path.read_bytes()
    yield lambda change: np.save(path, change(np.load(path)))
    path.write_bytes(before)


def test_an_honest_ledger_passes(finished):
    found = audit(finished)
    assert not found.wrong
    assert found.to_json() == {"ok": True, "samples": 18, "epochs": 2, "visits": 36, "wrong": []}
    assert [str(e) for e in found.epochs] == [f"epoch {i}: as its order says" for i in (1, 2)]


def test_a_gap_is_found(finished, planted):
    planted(lambda visits: visits[visits != 4])
    (wrong,) = audit(finished).wrong
    assert (wrong.epoch, wrong.missed, wrong.repeated) == (1, {"clip_0008": 1}, {})
    assert str(wrong) == "epoch 2: 1 sample missed: clip_0008"


def test_a_duplicate_is_found(finished, planted):
    planted(lambda visits: np.append(visits, 4))
    (wrong,) = audit(finished).wrong
    assert (wrong.missed, wrong.repeated) == ({}, {"clip_0008": 1})


def test_one_sample_in_place_of_another_is_found(finished, planted):
    planted(lambda visits: np.where(visits == 4, 5, visits))
    (wrong,) = audit(finished).wrong
    assert (wrong.missed, wrong.repeated) == ({"clip_0008": 1}, {"clip_0009": 1})


@pytest.mark.usefixtures("planted")
def test_a_lost_file_is_a_gap(finished):
    (finished / LEDGER / ledger.name(1)).unlink()
    (wrong,) = audit(finished).wrong
    assert len(wrong.missed) == 18


def test_samples_that_are_none_are_bad_data(finished, planted):
    planted(lambda visits: np.append(visits, 10**6))
    with pytest.raises(DataError, match="has sample 1000000, which is none"):
        audit(finished)


def test_other_data_are_refused(finished, lopsided):
    with pytest.raises(DataError, match="trained on other data"):
        audit(finished, str(lopsided))


def test_what_is_no_run_cannot_be_audited(tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        audit(tmp_path)


def test_the_names_of_its_files_reach_the_disk(tmp_path, monkeypatch):
    synced, sync = [], os.fsync

    def fsync(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    folder = tmp_path / "ledger"
    book = Ledger(folder)
    book.begin(0)
    book.close()
    assert synced.index(str(folder)) > synced.index(str(folder / ledger.name(0)))
    assert str(tmp_path) in synced
    del synced[:]
    ledger.rewind(folder, 0, [])
    assert str(folder) in synced
