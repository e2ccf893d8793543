import pytest
import torch

from mmtrain.functional.clustering import kmeans, min_max, purity


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_columns_are_stretched_by_hand():
    # 1, 2, 5 of [1, 5]: -1, -.5, 1; a constant column has no spread.
    rows = torch.tensor([[1.0, 7.0], [2.0, 7.0], [5.0, 7.0]])

    assert min_max(rows).tolist() == [[-1, -1], [-0.5, -1], [1, -1]]
    assert min_max(torch.tensor([[1e30], [-1e30]])).tolist() == [[1], [-1]]


def test_purity_by_hand():
    # Clusters {0, 0} and {0, 1, 1, 2}: 2 and 2 of 6 are in their cluster's class.
    labels, clusters = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 1, 1, 1, 1])

    assert purity(labels, clusters).item() == pytest.approx(0.666667, abs=1e-6)
    assert purity(labels, torch.zeros(6, dtype=torch.int64)).item() == 0.5
    assert purity(labels, labels).item() == purity(labels, torch.arange(6)).item() == 1


def test_purity_does_not_depend_on_the_numbers_of_clusters_and_classes():
    labels, clusters = torch.randint(5, (40,)), torch.randint(4, (40,))
    expected = purity(labels, clusters)

    assert purity(labels, torch.tensor([9, 2, 7, 0])[clusters]) == expected
    assert purity(torch.tensor([3, 1, 8, 0, 5])[labels], clusters) == expected


def test_clusters_that_lie_apart_are_found():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    labels = torch.arange(4).repeat(25)
    rows = centres[labels] + torch.randn(100, 2, generator=seeded()) / 10

    for seed in range(5):
        assert purity(labels, kmeans(rows, 4, seeded(seed))) == 1


def test_each_row_is_nearest_to_the_mean_of_its_cluster():
    rows = torch.randn(200, 3, generator=seeded())
    clusters = kmeans(rows, 6, seeded())

    means = torch.stack([rows[clusters == c].mean(0) for c in range(6)])
    assert torch.equal(torch.cdist(rows, means).argmin(1), clusters)


def test_one_seed_gives_one_clustering_and_as_many_draws_whatever_the_rows():
    rows = torch.randn(50, 3, generator=seeded())
    first, second = seeded(3), seeded(3)

    assert torch.equal(kmeans(rows, 5, first), kmeans(rows, 5, second))
    kmeans(rows[:2], 5, first)
    kmeans(rows, 5, second)
    assert torch.equal(first.get_state(), second.get_state())


@pytest.mark.parametrize("rows", [torch.ones(4, 2), torch.zeros(1, 3), torch.eye(2)])
def test_more_clusters_than_distinct_rows_leave_some_empty(rows):
    clusters = kmeans(rows, 5, seeded())

    assert len(clusters.unique()) == len(rows.unique(dim=0))
