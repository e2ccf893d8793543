import copy
import math

import pytest
import torch
from torch import nn

from mmtrain.functional import ascent, flat_projection, perturb, second_moment
from mmtrain.models.layers import frozen_batch_norm

DAMPED = math.exp(-0.4)  # .670320


def moment(width=6, rank=6, seed=0):
    """A symmetric matrix without negative eigenvalues."""
    rows = torch.randn(rank, width, generator=torch.Generator().manual_seed(seed))
    return rows.T @ rows


def test_second_moment_by_hand():
    # Two groups of two rows, with means (2, 0) and (1, 3), and a last one of one row, (0, 1):
    # [[4, 0], [0, 0]] + [[1, 3], [3, 9]] + [[0, 0], [0, 1]].
    rows = torch.tensor([[1.0, 1.0], [3.0, -1.0], [2.0, 2.0], [0.0, 4.0], [0.0, 1.0]])

    assert second_moment(rows, 2).tolist() == [[5, 3], [3, 10]]


def test_with_groups_of_one_the_moment_is_the_full_one():
    rows = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))

    assert torch.allclose(second_moment(rows, 1).float(), rows.T @ rows, atol=1e-6)
    assert torch.equal(second_moment(rows[:0], 4), torch.zeros(3, 3, dtype=torch.float64))


def test_projection_of_one_direction_by_hand():
    # a = (3, 4, 0), u = a / 5, eigenvalues 25, 0, 0: T = I - (1 - e^-.4) u u^T, where
    # u u^T = [[.36, .48, 0], [.48, .64, 0], [0, 0, 0]] and 1 - e^-.4 = .329680.
    a = torch.tensor([3.0, 4.0, 0.0])

    found = flat_projection(a.outer(a), 0.4)

    by_hand = torch.tensor([[0.881315, -0.158246, 0], [-0.158246, 0.789005, 0], [0, 0, 1]])
    assert torch.allclose(found, by_hand, atol=1e-6)
    assert torch.linalg.eigvalsh(found).tolist() == pytest.approx([DAMPED, 1, 1])


def test_projection_of_a_diagonal_by_hand():
    # Shares of the spread: (4 - 0) / 4, 1 / 4, 0, so exp(-.4), exp(-.1), 1.
    found = flat_projection(torch.diag(torch.tensor([4.0, 1.0, 0.0])), 0.4)

    assert torch.allclose(found, torch.diag(torch.tensor([DAMPED, 0.904837, 1.0])), atol=1e-6)
    ones = torch.ones(3)
    assert ((found @ ones).norm() / ones.norm()).item() == pytest.approx(0.86949, abs=1e-5)
    assert (ones @ found @ ones).item() == pytest.approx(2.575157, abs=1e-6)


def test_a_large_tau_projects_on_what_is_orthogonal_to_the_top():
    u = torch.tensor([0.6, 0.8, 0.0])
    assert torch.allclose(
        flat_projection(u.outer(u), 100.0),
        torch.tensor([[0.64, -0.48, 0], [-0.48, 0.36, 0], [0, 0, 1]]),
        atol=1e-6,
    )


@pytest.mark.parametrize("width", [1, 5])
@pytest.mark.parametrize("scale", [0.0, 2.0, 1e-30])
def test_where_no_direction_is_strong_there_is_no_projection(width, scale):
    assert torch.equal(flat_projection(scale * torch.eye(width), 0.4), torch.eye(width))


@pytest.mark.parametrize("rank", [2, 6])
@pytest.mark.parametrize("tau", [0.0, 1e-3, 0.4, 1.3, 20.0])
def test_projections_are_symmetric_damp_and_never_turn_back(rank, tau):
    a = moment(rank=rank)
    found = flat_projection(a, tau)

    assert torch.allclose(found, found.T, atol=1e-6)
    eigenvalues = torch.linalg.eigvalsh(found.double())
    assert eigenvalues[0].item() == pytest.approx(math.exp(-tau), abs=1e-6)
    assert eigenvalues[-1].item() == pytest.approx(1, abs=1e-6)
    assert torch.allclose(found @ a, a @ found, atol=1e-4)
    for scale in (1e-6, 1e6):
        assert torch.allclose(flat_projection(a * scale, tau), found, atol=1e-5)


def test_the_way_up_by_hand():
    # L = (w1^2 + 10 w2^2) / 2 at (1, 1): g = (1, 10), |g| = sqrt(101). At w + .05 g / |g|
    # the gradient is g + .05 (1, 100) / sqrt(101) = (1.004975, 10.497519), and L 6.01488.
    curvature = torch.tensor([1.0, 10.0])
    w = torch.ones(2)
    parts = [w[:1], w[1:]]

    step = ascent([(curvature * w)[:1], (curvature * w)[1:]], 0.05)
    before = perturb(parts, [(curvature * w)[:1], (curvature * w)[1:]], 0.05)

    assert torch.cat(step).norm().item() == pytest.approx(0.05)
    assert (curvature * w).tolist() == pytest.approx([1.004975, 10.497519], abs=1e-6)
    assert (curvature * w * w / 2).sum().item() == pytest.approx(6.01488, abs=1e-5)
    assert torch.equal(torch.cat(before), torch.ones(2))


def test_there_is_no_way_up_without_a_gradient():
    assert [step.tolist() for step in ascent([torch.zeros(2), torch.zeros(1)], 0.5)] == [
        [0, 0],
        [0],
    ]


def test_the_way_back_is_exact():
    weights = [torch.randn(n, generator=torch.Generator().manual_seed(n)) * 1e3 for n in (1, 9, 40)]
    weights.append(torch.tensor([-0.0, 1e-45, torch.inf]))
    copies = [weight.clone() for weight in weights]

    before = perturb(weights, [torch.full_like(w, 0.1) for w in weights], 7.0)

    assert not any(torch.equal(w, c) for w, c in zip(weights[:3], copies[:3], strict=True))
    torch._foreach_copy_(weights, before)
    for weight, kept in zip(weights, copies, strict=True):
        assert torch.equal(weight.view(torch.int32), kept.view(torch.int32))


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.SyncBatchNorm])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_still_statistics_stay_and_the_output_is_that_of_training(norm, momentum):
    net = nn.Sequential(nn.Conv2d(3, 4, 1), norm(4, momentum=momentum), nn.ReLU())
    pictures = torch.randn(5, 3, 2, 2)
    net(pictures)
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    names = list(net.state_dict())
    moving = copy.deepcopy(net)

    with frozen_batch_norm(net):
        out = net(pictures * 2 + 1)
    out.sum().backward()

    assert torch.equal(out, moving(pictures * 2 + 1))
    assert list(net.state_dict()) == names
    for name, buffer in net.named_buffers():
        assert torch.equal(buffer, buffers[name]), name
        assert not torch.equal(buffer, moving.get_buffer(name)), name
    net(pictures * 3 + 2)
    assert not torch.equal(net[1].running_mean, buffers["1.running_mean"])


def test_a_graph_from_before_outlives_a_still_pass():
    net = nn.Sequential(nn.BatchNorm1d(3))
    rows = torch.randn(4, 3)
    first = net(rows)

    with frozen_batch_norm(net):
        second = net(rows)

    (first.square().sum() + second.square().sum()).backward()
    assert net[0].weight.grad.isfinite().all()


def test_still_layers_move_again_after_an_error():
    net = nn.BatchNorm1d(2)
    kept = net.running_mean

    with pytest.raises(KeyError), frozen_batch_norm(net):
        raise KeyError

    assert net.running_mean is kept
