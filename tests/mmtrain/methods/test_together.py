"""Ranks that share a batch: real processes, and what one process alone would do."""

from dataclasses import replace

import pytest
import torch

from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import CHECKPOINT
from mmtrain.training.train import train
from tests.support.enginework import small
from tests.support.ranked import carry_out

pytestmark = pytest.mark.slow

# Rows of each rank, as a batch is dealt; a rank may have none.
COUNTS = ((3, 2), (1, 1), (2, 1, 1), (1, 0, 0))
# 17 visits at a step and then 1, so that ranks have 9 and 8, and then the second only a filler.
CHANGES = {
    "lfm-h": {"batch_size": 17, "modalities": ("audio", "visual", "flow")},
    "lfm-lb": {"batch_size": 5, "settings": {"method": {"held": 7, "start": 0.5, "rate": 0.1}}},
    "aug": {"batch_size": 17, "settings": {"method": {"sigma": 1e-6, "interval": 1}}},
}


@pytest.fixture(scope="module")
def folder(shards, tmp_path_factory):
    """Ranks of each of the above have left here what they found; one process starts them all."""
    folder = tmp_path_factory.mktemp("ranks")
    plans = []
    for method, changes in CHANGES.items():
        config = small(shards, method=method, **changes)
        config = replace(config, settings={"encoder": {"width": 64}, **config.settings})
        train(config, folder / f"{method}-1")
        plans.append((str(folder / f"{method}-2"), config.to_json(), 2))
    for i, counts in enumerate(COUNTS):
        (folder / str(i)).mkdir()
        plans.append((str(folder / str(i)), "", len(counts), "gather_rows", counts))
    carry_out(*plans)
    return folder


@pytest.mark.parametrize("i", range(len(COUNTS)))
def test_rows_come_together_in_the_order_of_the_undivided_batch(folder, i):
    counts = COUNTS[i]
    total = sum(counts)
    dealt = [divmod(place, len(counts)) for place in range(total)]
    for rank, count in enumerate(counts):
        rows, gradient = torch.load(folder / str(i) / f"{rank}.pt")
        assert rows.tolist() == [[10 * r + k, 1] for k, r in dealt]
        own = [place + 1 for place in range(total) if place % len(counts) == rank]
        scaled = [[g * total / count] * 2 for g in own] if count else [[0, 0]]
        torch.testing.assert_close(gradient, torch.tensor(scaled, dtype=torch.float32))


@pytest.mark.parametrize("method", CHANGES)
def test_two_ranks_do_what_one_does(folder, method):
    one, two = (checkpoint.load(folder / f"{method}-{n}" / CHECKPOINT) for n in (1, 2))
    assert one["steps"] == two["steps"]
    assert list(one["model"]) == list(two["model"])
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, rtol=1e-4, atol=1e-5)
    for name, value in one["method"].items():
        torch.testing.assert_close(two["method"][name], value, rtol=1e-3, atol=1e-5)
