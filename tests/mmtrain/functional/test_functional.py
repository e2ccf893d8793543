import math
from itertools import permutations

import pytest
import torch

from mmtrain.functional import agreement, confidence, cosine, discrepancy, entropy

# Example A of the OGM dossier: M = 2, C = 3, B = 2.
LOGITS = {
    "audio": torch.tensor([[2.1, -0.1, 0.0], [0.1, 0.9, 0.0]]),
    "visual": torch.tensor([[0.6, -0.1, 0.0], [0.6, -0.1, 0.0]]),
}
TARGET = torch.tensor([0, 1])
# Of the BSS dossier: probabilities of four samples.
PROBS = {
    "audio": torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]),
    "visual": torch.tensor([[0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.3, 0.4, 0.3]]),
}


def scores(**values: float) -> dict[str, torch.Tensor]:
    return {m: torch.tensor(float(value)) for m, value in values.items()}


def plain(tensors: dict[str, torch.Tensor]) -> dict[str, float]:
    return {m: tensor.item() for m, tensor in tensors.items()}


def test_confidence_by_hand():
    # softmax(ln 3, 0) = (3/4, 1/4).
    logits = torch.tensor([[math.log(3), 0.0], [math.log(3), 0.0]])

    found = confidence(logits, torch.tensor([0, 1]))

    assert found.tolist() == pytest.approx([0.75, 0.25])


def test_confidence_of_example_a():
    assert confidence(LOGITS["audio"], TARGET).tolist() == pytest.approx(
        [0.810859, 0.538823], abs=1e-6
    )
    assert confidence(LOGITS["visual"], TARGET).tolist() == pytest.approx(
        [0.488903, 0.242782], abs=1e-6
    )


def test_confidence_ignores_a_shift_and_survives_extremes():
    logits = torch.tensor([[1e30, -1e30, 0.0], [-1e30, 0.0, 0.0]])
    target = torch.tensor([0, 0])

    assert confidence(logits, target).tolist() == [1, 0]
    shifted = confidence(LOGITS["audio"] + 7, TARGET)
    torch.testing.assert_close(shifted, confidence(LOGITS["audio"], TARGET))


def test_scores_are_float32_whatever_the_precision_of_the_logits():
    half = LOGITS["audio"].bfloat16()

    assert confidence(half, TARGET).dtype == torch.float32
    assert entropy(half).dtype == torch.float32
    assert cosine(half, half).dtype == torch.float32


def test_discrepancy_of_example_a():
    found = discrepancy({m: confidence(z, TARGET).sum() for m, z in LOGITS.items()})

    assert plain(found) == pytest.approx({"audio": 1.844623, "visual": 0.542116}, abs=1e-6)


def test_discrepancy_of_three_by_hand():
    # (20/10 + 20/5) / 2 = 3; (10/20 + 10/5) / 2 = 1.25; (5/20 + 5/10) / 2 = 0.375.
    found = discrepancy(scores(audio=20, visual=10, flow=5))

    assert plain(found) == pytest.approx({"audio": 3, "visual": 1.25, "flow": 0.375})


def test_discrepancy_lets_two_of_three_be_ahead():
    found = plain(discrepancy(scores(audio=20, visual=18, flow=2)))

    assert found == pytest.approx({"audio": 5.5556, "visual": 4.95, "flow": 0.10556}, rel=1e-4)


@pytest.mark.parametrize("order", list(permutations(("audio", "visual", "flow"))))
def test_discrepancy_does_not_depend_on_the_order_of_modalities(order):
    given = scores(audio=20, visual=10, flow=5)

    found = discrepancy({m: given[m] for m in order})

    assert plain(found) == pytest.approx({"audio": 3, "visual": 1.25, "flow": 0.375})


def test_discrepancy_does_not_depend_on_the_number_of_samples():
    small, large = scores(audio=0.2, visual=0.1), scores(audio=200, visual=100)

    assert plain(discrepancy(small)) == pytest.approx(plain(discrepancy(large)))


@pytest.mark.parametrize("value", [0.0, 1e-12, 0.5, 1e30])
def test_discrepancy_of_equals_is_one(value):
    found = discrepancy(scores(audio=value, visual=value, flow=value))

    assert plain(found) == {"audio": 1, "visual": 1, "flow": 1}


def test_discrepancy_stays_finite_when_a_modality_scores_nothing():
    found = plain(discrepancy(scores(audio=64, visual=0)))

    assert found == pytest.approx({"audio": 6.4e9, "visual": 1e-8 / 64})


def test_a_modality_alone_is_level():
    assert plain(discrepancy(scores(audio=3))) == {"audio": 1}


def test_entropy_by_hand():
    # Uniform over 6 gives ln 6; (3/4, 1/4) gives ln 4 - 3/4 ln 3; one-hot gives 0.
    assert entropy(torch.zeros(1, 6)).item() == pytest.approx(1.791759)
    found = entropy(torch.tensor([[math.log(3), 0.0], [1e30, -1e30]]))
    assert found.tolist() == pytest.approx([math.log(4) - 0.75 * math.log(3), 0])


def test_cosine_by_hand():
    # (3, 4) and (4, 3): 24 / 25. Orthogonal: 0. Opposite: -1. A zero vector has no direction: 0.
    first = torch.tensor([[3.0, 4.0], [1.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    second = torch.tensor([[4.0, 3.0], [0.0, 2.0], [-2.0, -4.0], [1.0, 0.0]])

    assert cosine(first, second).tolist() == pytest.approx([0.96, 0, -1, 0], abs=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_cosine_ignores_scale_with_its_gradient(scale):
    first = (torch.tensor([[3.0, 4.0]]) * scale).requires_grad_()

    found = cosine(first, torch.tensor([[4.0, 3.0]]))
    found.sum().backward()

    # d/da = (b/|b| - cos a/|a|) / |a| = ((0.8, 0.6) - 0.96 (0.6, 0.8)) / 5 = (0.0448, -0.0336).
    assert found.item() == pytest.approx(0.96)
    assert (first.grad * scale)[0].tolist() == pytest.approx([0.0448, -0.0336], abs=1e-6)


def test_cosine_has_a_finite_gradient_at_a_zero_vector():
    zero = torch.zeros(1, 3, requires_grad=True)

    cosine(zero, torch.ones(1, 3)).sum().backward()

    assert zero.grad.isfinite().all()


def test_agreement_of_two():
    assert agreement(PROBS).tolist() == pytest.approx([0.9832, 0.4020, 1.0, 0.8273], abs=1e-4)


@pytest.mark.parametrize("order", list(permutations(("audio", "visual", "flow"))))
def test_agreement_of_three_is_the_mean_over_pairs(order):
    # The pairs give .98315, .59604 and .71755.
    rows = {"audio": [0.7, 0.2, 0.1], "visual": [0.6, 0.3, 0.1], "flow": [0.2, 0.5, 0.3]}

    found = agreement({m: torch.tensor([rows[m]]) for m in order})

    assert found.item() == pytest.approx(0.76558, abs=1e-5)


def test_equal_modalities_agree_and_one_agrees_with_itself():
    probs = PROBS["audio"]

    assert agreement({"audio": probs, "visual": probs}).tolist() == pytest.approx([1] * 4)
    assert agreement({"audio": probs}).tolist() == [1] * 4
