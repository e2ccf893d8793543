import numpy as np
import pytest

from mmtrain.curricula.uniform import Uniform
from mmtrain.data import SampleOrder, Share
from mmtrain.data.order import slots, steps
from mmtrain.errors import ConfigError


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
@pytest.mark.parametrize("batch_size", [1, 4, 6])
@pytest.mark.parametrize("visits", [1, 4, 23])
def test_ranks_share_every_step_without_overlap(visits: int, batch_size: int, ranks: int) -> None:
    seen: list[int] = []
    for step in range(steps(visits, batch_size)):
        start = step * batch_size
        taken = [slots(visits, start, batch_size, Share(rank=r, ranks=ranks)) for r in range(ranks)]
        assert len({len(t.positions) for t in taken}) == 1
        real = [p for t in taken for p in t.positions[~t.filler].tolist()]
        assert sorted(real) == list(range(start, min(start + batch_size, visits)))
        assert {p for t in taken for p in t.positions.tolist()} == set(real)
        seen += real
    assert sorted(seen) == list(range(visits))


def test_slots_of_the_last_step_by_hand():
    # 10 visits in batches of 4: the third step begins at 8 and has visits 8 and 9 only. Its slots
    # 0 1 2 3 hold 8 9 8 9, the latter two as fillers; of two ranks, the first takes slots 0 and 2.
    first = slots(10, 8, 4, Share(rank=0, ranks=2))
    second = slots(10, 8, 4, Share(rank=1, ranks=2))

    assert first.positions.tolist() == [8, 8]
    assert second.positions.tolist() == [9, 9]
    assert first.filler.tolist() == second.filler.tolist() == [False, True]


def test_slots_where_ranks_do_not_divide_the_batch_by_hand():
    # Batch 4 over 3 ranks: 2 slots each. Slots 0 to 5 hold visits 0 1 2 3 0 1; 4 and 5 are fillers.
    taken = [slots(8, 0, 4, Share(rank=r, ranks=3)) for r in range(3)]

    assert [t.positions.tolist() for t in taken] == [[0, 3], [1, 0], [2, 1]]
    assert [t.filler.tolist() for t in taken] == [[False, False], [False, True], [False, True]]


def test_uniform_visits_each_sample_once_in_an_order_of_the_epoch():
    ids = np.arange(100, 150)
    orders = [Uniform().visits(ids, seed=3, epoch=epoch).ids for epoch in (0, 0, 1)]

    assert sorted(orders[0]) == ids.tolist()
    assert orders[0].tolist() == orders[1].tolist()
    assert orders[0].tolist() != orders[2].tolist()
    assert Uniform().visits(ids, seed=4, epoch=0).ids.tolist() != orders[0].tolist()


def test_digest_tells_orders_apart():
    ids, mask = np.arange(20), np.arange(20) % 2 == 0
    orders = [
        SampleOrder(ids),
        SampleOrder(ids[::-1]),
        SampleOrder(ids, {"audio": mask}),
        SampleOrder(ids, {"visual": mask}),
        SampleOrder(ids, {"audio": ~mask}),
    ]

    assert len({order.digest() for order in orders}) == len(orders)
    assert SampleOrder(ids.copy()).digest() == orders[0].digest()


def test_impossible_orders_are_refused():
    with pytest.raises(ConfigError, match="no samples"):
        SampleOrder(np.zeros(0, np.int64))
    with pytest.raises(ConfigError, match=r"shown\['audio'\]"):
        SampleOrder(np.arange(3), {"audio": np.ones(2, bool)})
    with pytest.raises(ConfigError, match="rank 2 of 2"):
        Share(rank=2, ranks=2)
