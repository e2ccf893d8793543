import math

import pytest
import torch

from mmtrain.functional.distillation import divergences, feature_distance


def test_feature_distance_by_hand():
    # Audio differs by (0, 1; -1, 0): 2 / 4. Visual by 2 everywhere: 4.
    taught = {"audio": torch.ones(2, 2), "visual": torch.zeros(2, 3)}
    features = {"audio": torch.tensor([[1.0, 2.0], [0.0, 1.0]]), "visual": torch.full((2, 3), 2.0)}

    assert feature_distance(features, taught).item() == pytest.approx(4.5)
    assert feature_distance(taught, taught).item() == 0


def test_divergences_by_hand():
    # Teacher (3/4, 1/4), student (1/2, 1/2): 3/4 ln 3/2 + 1/4 ln 1/2. Of two alike: 0.
    taught = torch.tensor([[math.log(3.0), 0.0], [1.0, 1.0]])
    logits = torch.tensor([[0.0, 0.0], [5.0, 5.0]])

    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert divergences(logits, taught).tolist() == pytest.approx([expected, 0])


def test_divergences_stay_finite_at_extreme_logits_and_are_never_negative():
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [1e4, -1e4, 0.0]])
    taught = torch.tensor([[-1e4, 1e4, 0.0], [0.0, 0.0, 0.0], [1e4, -1e4, 0.0]])

    found = divergences(logits.requires_grad_(), taught)
    found.sum().backward()

    assert found.isfinite().all()
    assert (found >= 0).all()
    assert found[2] == 0
    assert logits.grad.isfinite().all()
