import numpy as np
import pytest
import torch

from mmtrain.metrics import by_class, confusion, mean_and_std, measures

# Softmax of the logarithms gives these probabilities back. Predicted: 0, 0, 1, 2; true: 0, 1, 1, 2.
PROBS = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.2, 0.35, 0.45]])
TRUTH = torch.tensor([0, 1, 1, 2])


def test_classes_by_hand():
    low, mid, high = by_class(PROBS.log(), TRUTH, ("low", "mid", "high"))

    # Predicted twice, right once; the only sample of it ranks first.
    assert low == {"name": "low", "count": 1, "accuracy": 1, "ap": 1, "f1": pytest.approx(2 / 3)}
    # One of two samples found. By falling score the ranks are yes, no, yes: (1 + 2 / 3) / 2.
    assert (mid["count"], mid["accuracy"]) == (2, 0.5)
    assert mid["ap"] == pytest.approx(5 / 6)
    assert mid["f1"] == pytest.approx(2 / 3)
    assert high == {"name": "high", "count": 1, "accuracy": 1, "ap": 1, "f1": 1}


def test_confusion_by_hand():
    assert confusion(PROBS.log(), TRUTH).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]


def test_classes_that_nothing_is_said_of():
    # Class 1 is predicted and has no sample; class 2 is neither.
    found = by_class(torch.eye(3)[[0, 1]], torch.tensor([0, 0]), "abc")
    assert found[1] == {"name": "b", "count": 0, "accuracy": None, "ap": None, "f1": 0}
    assert found[2] == {"name": "c", "count": 0, "accuracy": None, "ap": None, "f1": None}


def test_means_over_classes_are_the_measures():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(60, 7, generator=random)
    truth = torch.randint(0, 6, (60,), generator=random)

    found, whole = by_class(logits, truth, "abcdefg"), measures(logits, truth)

    assert np.mean([c["ap"] for c in found if c["count"]]) == pytest.approx(whole["map"])
    f1 = [c["f1"] for c in found if c["f1"] is not None]
    assert np.mean(f1) == pytest.approx(whole["macro_f1"])
    table = confusion(logits, truth)
    assert np.trace(table) / table.sum() == pytest.approx(whole["accuracy"])
    assert table.sum(1).tolist() == [c["count"] for c in found]


def test_mean_and_deviation_by_hand():
    # Deviations -1, 0, 1: variance 2 / (3 - 1).
    assert mean_and_std([1.0, 2.0, 3.0]) == {"mean": 2, "std": 1}
    assert mean_and_std([0.25]) == {"mean": 0.25, "std": 0}
