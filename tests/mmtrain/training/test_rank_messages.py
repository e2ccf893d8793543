"""Messages between ranks, as real processes over gloo."""

import json
from datetime import timedelta
from threading import Thread

import pytest
import torch
from torch.distributed import HashStore

from mmtrain.training import ranks
from mmtrain.training.failure_watch import FAILURE
from mmtrain.training.ranks import ALONE
from tests.support.ranked import carry_out

pytestmark = pytest.mark.slow

WEIGHTS = ([3, 1], [2, 0], [0, 0])


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Every task of this file, carried out by one process: folder and what was logged."""
    folder = tmp_path_factory.mktemp("messages")
    plans = [[str(folder), "", 2, "wait"], [str(folder), "", 2, "fail"]]
    for i, weights in enumerate(WEIGHTS):
        (folder / str(i)).mkdir()
        plans.append([str(folder / str(i)), "", 2, "average", weights])
    return folder, carry_out(*plans)


def test_nobody_passes_wait_before_the_last_has_come(ran):
    assert (ran[0] / "early").read_text() == "no"


def test_an_error_ends_a_rank_that_waits_for_something_else(ran):
    # Its exit status is checked by the process that started it.
    assert "rank 1 has failed: train/000000.tar: sample 'clip_0007'" in ran[1]
    assert "rank 0 is waiting for it and ends" in ran[1]


def test_the_holder_of_the_store_leaves_last_where_a_rank_has_failed(monkeypatch):
    monkeypatch.setattr(ranks, "_GRACE", timedelta(seconds=60))
    store, order = HashStore(), []
    store.set(FAILURE, "rank 1 has failed")

    def leave():
        ranks._leave(store, 0, 3)
        order.append(0)

    holder = Thread(target=leave)
    holder.start()
    for rank in (1, 2):
        holder.join(0.1)
        order.append(rank)
        ranks._leave(store, rank, 3)
    holder.join(60)
    assert order == [1, 2, 0]


def test_nobody_is_waited_for_where_no_rank_has_left_a_message():
    class Impatient(HashStore):
        def wait(self, *_):
            raise AssertionError

    ranks._leave(Impatient(), 0, 3)


@pytest.mark.parametrize("i", range(len(WEIGHTS)))
def test_means_over_ranks_by_hand(ran, i):
    # Rank 0 has (1, 0), rank 1 (2, -1); a rank of weight 0 has NaN.
    # (3 * 1 + 1 * 2) / 4 and (3 * 0 - 1 * 1) / 4; rank 0 alone; nothing at all.
    expected = ([1.25, -0.25], [1, 0], [0, 0])[i]
    for rank in range(2):
        means, counts, flag, total = json.loads((ran[0] / str(i) / f"{rank}.json").read_text())
        assert means == expected
        assert counts == [0, 1]
        assert flag is True
        assert total == 10


def test_alone_nothing_is_sent():
    value = torch.tensor([2.0])
    ALONE.average([value], 0)
    ALONE.wait()
    assert value.item() == 2
    assert ALONE.counts(3) == [3]
    assert ALONE.total(3) == 3
    assert ALONE.any(True)
    assert not ALONE.any(False)
    assert ALONE.gather(value) is ALONE.sum(value) is ALONE.gather_rows(value, 1) is value
