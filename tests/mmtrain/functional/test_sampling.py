import math

import pytest
import torch

from mmtrain.functional import draw_successive, draw_systematic, inclusion_probabilities

# Of the AMSS dossier: eight weights, of which four are drawn.
WEIGHTS = [8, 4, 2, 1, 1, 0.5, 0.25, 0.25]


def rows(*values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def many(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of random weights and lengths, padded to twelve, and how many are drawn of each."""
    chance = torch.Generator().manual_seed(0)
    sizes = torch.randint(1, 13, (count,), generator=chance)
    weights = torch.rand(count, 12, generator=chance) ** 6 + 1e-6
    weights *= torch.arange(12) < sizes[:, None]
    counts = (torch.rand(count, generator=chance) * sizes).long() + 1
    return weights, counts


def test_inclusion_by_hand():
    # 4/17 of 8 is above 1, so is 3/9 of 4, but 2/5 of 2 is not: two at 1, the others times 2/5.
    found = inclusion_probabilities(rows(WEIGHTS), torch.tensor([4]))

    assert found[0].tolist() == pytest.approx([1, 1, 0.8, 0.4, 0.4, 0.2, 0.1, 0.1])


def test_inclusion_ignores_the_scale_and_the_order_of_weights():
    order = [3, 0, 7, 1, 5, 2, 6, 4]
    mixed = rows([WEIGHTS[i] * 1e-3 for i in order])

    found = inclusion_probabilities(mixed, torch.tensor([4]))

    assert torch.allclose(
        found, inclusion_probabilities(rows(WEIGHTS), torch.tensor([4]))[:, order]
    )


def test_inclusion_sums_to_what_is_drawn_and_stays_in_range():
    weights, counts = many(500)

    found = inclusion_probabilities(weights, counts)

    assert found.dtype == torch.float64
    assert torch.allclose(found.sum(1), counts.double(), atol=1e-9)
    assert ((found >= 0) & (found <= 1)).all()
    assert torch.equal(found > 0, weights > 0)
    for given, chances in zip(weights.double(), found, strict=True):
        ratios = (chances / given)[(given > 0) & (chances < 1)]
        assert torch.allclose(ratios, ratios[:1])


@pytest.mark.parametrize("weights", [[1.0] * 7, WEIGHTS, [1e-30, 1, 1e30], [0.1] * 3 + [0.0]])
def test_inclusion_of_all_is_one(weights):
    there = torch.tensor([weights]) > 0

    found = inclusion_probabilities(rows(weights), there.sum(1))

    assert torch.allclose(found, there.double())


def test_systematic_by_hand():
    # Halves end at .5, 1, 1.5, 2. Points .25 and 1.25 lie in the first and third; .75 and 1.75 in
    # the others; 0 and 1 begin the first and third.
    chances = rows([0.5] * 4).repeat(3, 1)

    found = draw_systematic(chances, torch.tensor([0.25, 0.75, 0.0], dtype=torch.float64))

    assert found.int().tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]]


def test_systematic_draws_each_with_its_probability():
    chances = inclusion_probabilities(rows(WEIGHTS), torch.tensor([4])).repeat(1000, 1)
    start = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000

    found = draw_systematic(chances, start)

    assert found.double().mean(0).tolist() == pytest.approx(chances[0].tolist(), abs=1e-9)
    assert (found.sum(1) == 4).all()


def test_systematic_draws_as_many_as_asked_of_padded_rows():
    weights, counts = many(2000)
    start = torch.rand(2000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    found = draw_systematic(inclusion_probabilities(weights, counts), start)

    assert torch.equal(found.sum(1), counts)
    assert not found[weights == 0].any()


def test_successive_by_hand():
    # 1 - 1/e is an exponential of 1, so the entries come in the order of their weights.
    uniform = torch.full((3, 4), 1 - math.exp(-1))
    weights = torch.tensor([[3.0, 1.0, 2.0, 0.0]]).repeat(3, 1)

    found = draw_successive(weights, torch.tensor([1, 2, 3]), uniform)

    assert found.int().tolist() == [[1, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0]]


def test_successive_draws_follow_the_weights_that_are_left():
    # Inclusion of four drawn one after the other, enumerated in the AMSS dossier.
    expected = [0.977, 0.900, 0.715, 0.454, 0.454, 0.246, 0.127, 0.127]
    uniform = torch.rand(40_000, 8, generator=torch.Generator().manual_seed(2))

    found = draw_successive(
        torch.tensor([WEIGHTS]).repeat(40_000, 1), torch.full((40_000,), 4), uniform
    )

    assert (found.sum(1) == 4).all()
    assert found.float().mean(0).tolist() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("number", [0.0, 1 - 2**-24])
def test_successive_draws_as_many_as_asked_whatever_the_numbers(number):
    weights, counts = many(500)

    found = draw_successive(weights, counts, torch.full_like(weights, number))

    assert torch.equal(found.sum(1), counts)
    assert not found[weights == 0].any()
