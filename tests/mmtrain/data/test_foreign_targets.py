"""Truth of other tasks in shards without an index."""

import json

import numpy as np
import pytest
import torch

from mmprep.storage.store import LocalStore
from mmtrain.data import ForeignStream, StreamOptions, View
from mmtrain.data.foreign import Layout
from mmtrain.errors import DataError, UnknownName
from tests.mmtrain.data.test_foreign import foreign_shard
from tests.support.streammaker import SOUND, array_bytes

VIEW = View(frames=1, size=24)


def shards(folder, targets):
    """One sample of sound for each target; None writes a record without any."""
    sound = array_bytes(np.zeros(SOUND, np.float32))
    records = [{} if target is None else {"target": target} for target in targets]
    samples = [{"npy": sound, "json": json.dumps(record).encode()} for record in records]
    foreign_shard(folder / "0.tar", samples)
    return LocalStore(folder)


def batch_of(store, target, **options):
    layout = Layout(fields={"audio": "npy"}, target=target)
    stream = ForeignStream(store, ("audio",), 3, VIEW, layout, StreamOptions(workers=1, **options))
    stream.begin(seed=0, epoch=0)
    return next(iter(stream)), stream


def test_a_score_is_the_number_of_the_record(tmp_path):
    batch, _ = batch_of(shards(tmp_path, [[-2.4], [0], [1.2]]), "score")

    assert batch.target.dtype == torch.float32
    assert batch.target.tolist() == pytest.approx([-2.4, 0, 1.2])


def test_segments_are_the_classes_of_the_record(tmp_path):
    batch, _ = batch_of(shards(tmp_path, [[2, 0], [1, 1], [2, 2.0]]), "segments")

    assert batch.target.dtype == torch.int64
    assert batch.target.tolist() == [[2, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize("wrong", [None, [1, 2], ["loud"], [float("nan")], 3])
def test_a_sample_without_a_score_is_damaged(tmp_path, wrong):
    store = shards(tmp_path, [[0.5], wrong, [1]])

    with pytest.raises(DataError, match=r"0\.tar: sample 'clips/0001' has no score"):
        batch_of(store, "score")
    batch, stream = batch_of(store, "score", skip_damaged=True)
    assert batch.target.tolist() == [0.5, 0, 1]
    assert batch.filler.tolist() == [False, True, False]
    assert list(stream.skipped) == ["clips/0001"]


def test_samples_of_one_batch_have_equally_many_segments(tmp_path):
    with pytest.raises(DataError, match=r"samples have \[2, 3\] segments"):
        batch_of(shards(tmp_path, [[0, 1], [0, 1, 2], [0, 1]]), "segments")


def test_an_unknown_truth_is_refused():
    with pytest.raises(UnknownName, match="no target 'scores'"):
        Layout(target="scores")
