"""Tasks: losses, confidence, targets and measures of each, by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch.nn import functional as F

from mmtrain.errors import ConfigError
from mmtrain.tasks.annotations import Annotations
from mmtrain.tasks.answers import Answers
from mmtrain.tasks.binary import Binary
from mmtrain.tasks.catalog import TASKS
from mmtrain.tasks.classification import Classification
from mmtrain.tasks.localisation import Localisation
from mmtrain.tasks.measures import MEASURES, SELECTS, rank, shown
from mmtrain.tasks.regression import Regression
from mmtrain.tasks.task import mean_by_sample

SEVEN = tuple(str(score) for score in range(-3, 4))


def annotated(labels, values=None, groups=(), group=None, classes=SEVEN):
    """Annotations of a data set that has no files."""
    return Annotations(
        place="nowhere",
        classes=classes,
        label=np.array(labels, np.uint16),
        values=None if values is None else np.array(values, np.float32),
        groups=groups,
        group=None if group is None else np.array(group, np.uint16),
    )


SCORES = annotated([1, 3, 4, 6, 3], [[-2.4], [0.0], [1.2], [3.0], [-0.2]])
EVENTS = annotated([0, 1], [[2, 0, 0], [2, 2, 1]], classes=("bell", "dog", "background"))


def test_regression_has_the_absolute_difference_as_loss():
    task = Regression.of(SCORES)
    logits = torch.tensor([[-1.6], [0.3]], requires_grad=True)
    target = torch.from_numpy(task.targets(SCORES))[:2]

    losses = task.losses(logits, target)
    losses.sum().backward()

    assert target.dtype == torch.float32
    assert losses.tolist() == pytest.approx([0.8, 0.3])
    assert logits.grad.flatten().tolist() == [1, 1]
    assert task.outputs == 1


def test_regression_has_no_probability():
    with pytest.raises(ConfigError, match="regression has no probabilities of classes"):
        Regression().confidence(torch.zeros(2, 1), torch.zeros(2))


def test_regression_measures_the_worked_example():
    task = Regression.of(SCORES)
    guess = torch.tensor([[-1.6], [0.3], [0.8], [2.4], [0.4]])

    found = task.measures(guess, {"text": torch.zeros(5, 1)}, SCORES)

    assert found["mae"] == found["loss"] == pytest.approx(0.54)
    assert found["acc2_nonnegative"] == pytest.approx(0.8)
    assert found["modalities"]["text"]["corr"] is None  # It predicts a constant.
    points = task.details(guess, SCORES)["scatter"]
    assert points["true"] == pytest.approx([-2.4, 0, 1.2, 3, -0.2])
    assert points["predicted"] == pytest.approx([-1.6, 0.3, 0.8, 2.4, 0.4])


def test_a_scatter_of_many_samples_is_thinned_out():
    data = annotated([3] * 5001, np.zeros((5001, 1)))

    points = Regression.of(data).details(torch.zeros(5001, 1), data)["scatter"]

    assert 1000 < len(points["true"]) == len(points["predicted"]) <= 2000


def test_binary_learns_the_sign_of_a_score_and_measures_by_both_conventions():
    task = Binary.of(SCORES)
    # Predicted classes 0 1 1 1 1 against -2.4 0 1.2 3 -0.2: with zero 4 of 5, without it 3 of 4.
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])

    found = task.measures(logits, {}, SCORES)

    assert task.targets(SCORES).tolist() == [0, 1, 1, 1, 0]
    assert task.classes(SCORES) == ("negative", "nonnegative")
    assert found["accuracy"] == found["acc2_nonnegative"] == pytest.approx(0.8)
    assert found["f1"] == found["f1_nonnegative"] == pytest.approx(0.780952, abs=1e-6)
    assert found["acc2_nonzero"] == pytest.approx(0.75)
    assert found["f1_nonzero"] == pytest.approx(0.733333, abs=1e-6)


def test_binary_of_two_classes_has_no_conventions_but_a_weighted_f1():
    data = annotated([0, 0, 1], classes=("plain", "sarcastic"))
    task = Binary.of(data)
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 2.0]])

    found = task.measures(logits, {"image": logits}, data)

    assert task.targets(data).tolist() == [0, 0, 1]
    assert task.classes(data) == ("plain", "sarcastic")
    expected = f1_score([0, 0, 1], [0, 1, 1], average="weighted")
    assert found["f1"] == found["modalities"]["image"]["f1"] == pytest.approx(expected)
    assert "acc2_nonzero" not in found


def test_localisation_averages_over_segments():
    task = Localisation.of(EVENTS)
    logits = torch.zeros(2, 9)
    logits[0, 2] = math.log(2)  # The first segment's truth: 2/4 where the others have 1/4 each.
    target = torch.from_numpy(task.targets(EVENTS))

    assert (task.outputs, task.segments, task.choices) == (9, 3, 3)
    assert task.confidence(logits, target).tolist() == pytest.approx([(1 / 2 + 2 / 3) / 3, 1 / 3])
    losses = task.losses(logits, target).tolist()
    assert losses == pytest.approx([(math.log(2) + 2 * math.log(3)) / 3, math.log(3)])
    rows, truth = task.decisions(logits), task.decided(target)
    assert rows.shape == (6, 3)
    assert truth.tolist() == [2, 0, 0, 2, 2, 1]
    assert F.cross_entropy(rows, truth).item() == pytest.approx(sum(losses) / 2)


def test_localisation_stands_beside_background_alone():
    task = Localisation.of(EVENTS)
    # Predicts background everywhere but in the second segment of the first clip, where it is right.
    logits = F.one_hot(torch.tensor([[2, 0, 2], [2, 2, 2]]), 3).float().reshape(2, 9)

    found = task.measures(logits, {"audio": logits}, EVENTS)
    details = task.details(logits, EVENTS)

    assert found["background"] == pytest.approx(3 / 6)
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["modalities"]["audio"]["accuracy"] == found["accuracy"]
    assert details["segments"] == pytest.approx([1, 1, 0])
    assert [line["count"] for line in details["by_class"]] == [2, 1, 3]
    assert np.sum(details["confusion"]) == 6


def test_localisation_without_a_background_has_nothing_beside_it():
    data = annotated([0], [[0, 1]], classes=("bell", "dog"))

    found = Localisation.of(data).measures(torch.zeros(1, 4), {}, data)

    assert "background" not in found


def test_answers_are_measured_by_type_of_question():
    types = ("Audio Counting", "Visual Location", "Visual Counting")
    data = annotated([0, 1, 2, 0], groups=types, group=[0, 0, 1, 1], classes=("yes", "no", "two"))
    logits = F.one_hot(torch.tensor([0, 1, 0, 0]), 3).float()

    found = Answers.of(data).measures(logits, {"audio": logits}, data)

    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["groups"] == {
        "Audio Counting": {"count": 2, "accuracy": 1.0},
        "Visual Location": {"count": 2, "accuracy": 0.5},
    }
    assert found["modalities"]["audio"]["groups"] == found["groups"]


def test_classification_learns_the_label_of_any_data():
    for data in (SCORES, EVENTS):
        task = Classification.of(data)
        assert task.targets(data).tolist() == data.label.tolist()
        assert task.outputs == len(data.classes)


@pytest.mark.parametrize(
    ("task", "data", "message"),
    [
        (Regression, EVENTS, "learns a score"),
        (Regression, annotated([0]), "learns a score"),
        (Binary, EVENTS, "3 classes and no score"),
        (Localisation, SCORES, "a class for each segment"),
        (Localisation, annotated([0], [[0.5, 1]]), "whole numbers below 7"),
        (Localisation, annotated([0], [[0, 7]]), "whole numbers below 7"),
        (Answers, SCORES, "have no group"),
    ],
)
def test_a_task_refuses_data_that_lack_what_it_learns(task, data, message):
    with pytest.raises(ConfigError, match=rf"nowhere: .*{message}"):
        task.of(data)


def test_values_of_decisions_are_averaged_by_sample():
    assert mean_by_sample(torch.tensor([1.0, 2.0]), 2).tolist() == [1, 2]
    assert mean_by_sample(torch.tensor([1.0, 3.0, 5.0, 5.0]), 2).tolist() == [2, 5]


@pytest.mark.parametrize("name", TASKS.names)
def test_every_measure_of_a_task_has_a_column_and_may_choose_the_epoch(name):
    task = TASKS.target(name)

    assert task.name == name
    assert set(task.measured) <= set(SELECTS)


def test_measures_are_shown_in_one_order_and_ranked_by_their_direction():
    assert shown(["loss", "corr", "mae", "rho.audio"]) == ("mae", "corr")
    assert rank("mae", 0.5) > rank("mae", 0.6) > rank("mae", None)
    assert rank("accuracy", 0.6) > rank("accuracy", 0.5) > rank("accuracy", float("nan"))
    assert "background" in MEASURES
    assert "background" not in SELECTS
