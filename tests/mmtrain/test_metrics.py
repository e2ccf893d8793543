import numpy as np
import pytest
import torch

from mmtrain.metrics import measures, of_outputs


def test_measures_by_hand():
    # Probabilities and truth of the papers' toy: ranking is perfect in every class, one is wrong.
    probs = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.5, 0.2], [0.4, 0.35, 0.25], [0.2, 0.2, 0.6]])
    truth = torch.tensor([0, 1, 1, 2])

    found = measures(probs.log(), truth)

    assert found["accuracy"] == 0.75
    assert found["map"] == 1
    # F1: class 0 has 1 of 2 guesses right, 2/3; class 1 finds 1 of 2, 2/3; class 2 1.
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert found["loss"] == pytest.approx(-np.log([0.7, 0.5, 0.35, 0.6]).mean())


def test_classes_without_a_sample_have_no_precision():
    logits = torch.eye(4)[[0, 1]]
    assert measures(logits, torch.tensor([0, 1]))["map"] == 1


def test_ties_go_to_the_first_class():
    assert measures(torch.zeros(2, 3), torch.tensor([0, 1]))["accuracy"] == 0.5


def test_extreme_logits_are_measured():
    found = measures(torch.tensor([[1e30, -1e30], [-1e30, 1e30]]), torch.tensor([0, 1]))
    assert found == {"accuracy": 1, "map": 1, "macro_f1": 1, "loss": 0}


def test_each_modality_is_measured_like_the_fused():
    logits, truth = torch.eye(3), torch.arange(3)
    found = of_outputs(logits, {"audio": logits.flip(0)}, truth)
    assert found == {
        **measures(logits, truth),
        "modalities": {"audio": measures(logits.flip(0), truth)},
    }
