"""Shapley values by hand and by their axioms."""

import pytest
import torch

from mmtrain.functional.shapley import shapley, subsets

TWO = ("audio", "visual")
THREE = ("audio", "visual", "text")


def at_random(modalities, *shape):
    generator = torch.Generator().manual_seed(3)
    return {s: torch.randn(shape, generator=generator) for s in subsets(modalities)}


def test_sets_by_size():
    assert subsets(TWO) == [("audio",), ("visual",), TWO]
    assert len(subsets(THREE)) == 7


def test_two_by_hand():
    # (T - v(visual) + v(audio)) / 2 = ((2, .5, 0) - (.5, .6, 0) + (1.6, .1, 0)) / 2.
    values = {("audio",): [1.6, 0.1, 0.0], ("visual",): [0.5, 0.6, 0.0], TWO: [2.0, 0.5, 0.0]}
    shares = shapley({s: torch.tensor(v) for s, v in values.items()}, TWO)

    assert shares["audio"].tolist() == pytest.approx([1.55, 0, 0], abs=1e-6)
    assert shares["visual"].tolist() == pytest.approx([0.45, 0.5, 0], abs=1e-6)


def test_three_by_hand():
    # Text joins nothing or both others with weight 1/3, one of them with 1/6.
    v = at_random(THREE, 4)
    a, i, t = ((m,) for m in THREE)
    expected = (v[THREE] - v[a + i] + v[t]) / 3 + (v[a + t] - v[a] + v[i + t] - v[i]) / 6
    torch.testing.assert_close(shapley(v, THREE)["text"], expected)


@pytest.mark.parametrize("modalities", [("audio",), TWO, THREE, (*THREE, "flow")])
def test_shares_sum_to_the_whole(modalities):
    values = at_random(modalities, 2, 3)
    shares = shapley(values, modalities)
    torch.testing.assert_close(torch.stack([*shares.values()]).sum(0), values[modalities])


def test_equal_modalities_have_equal_shares_and_names_do_not_matter():
    of_size = {s: torch.tensor(float(len(s) ** 2)) for s in subsets(THREE)}
    assert [x.item() for x in shapley(of_size, THREE).values()] == pytest.approx([3, 3, 3])

    values, turned = at_random(THREE), THREE[1:] + THREE[:1]
    renamed = dict(zip(turned, THREE, strict=True))
    other = {
        s: values[tuple(m for m in THREE if m in {renamed[x] for x in s})] for s in subsets(turned)
    }
    shares, again = shapley(values, THREE), shapley(other, turned)
    for name, old in renamed.items():
        torch.testing.assert_close(again[name], shares[old])
