"""Measures of scores against values worked by hand, and against scipy and scikit-learn."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error

from mmtrain.tasks.opinion import (
    agreement,
    correlation,
    rounded,
    score_measures,
    sign_measures,
    weighted_f1,
)

TRUTH = np.array([-2.4, 0.0, 1.2, 3.0, -0.2])
GUESS = np.array([-1.6, 0.3, 0.8, 2.4, 0.4])


def test_measures_of_five_scores_by_hand():
    # |t - p| = .8, .3, .4, .6, .6: 2.7 / 5. Rounded: -2 0 1 3 0 and -2 0 1 2 0: four of five agree;
    # within -2..2 the fourth pair is 2 and 2, so all do. Signs without the zero: - + + - and
    # - + + +. With it, "at least 0": n y y y n and n y y y y.
    found = score_measures(TRUTH, GUESS)

    assert found["mae"] == pytest.approx(0.54)
    assert found["corr"] == pytest.approx(0.987707, abs=1e-6)
    assert found["acc7"] == pytest.approx(0.8)
    assert found["acc5"] == 1
    assert found["acc2_nonzero"] == pytest.approx(0.75)
    assert found["acc2_nonnegative"] == pytest.approx(0.8)
    # Nonzero: F1 of + is 2*2/(3+2), of - 2*1/(1+2); two samples of each: (.8 + .666667) / 2.
    assert found["f1_nonzero"] == pytest.approx(0.733333, abs=1e-6)
    # Nonnegative: F1 of y is 2*3/(4+3), of n 2*1/(1+2); weights 3/5 and 2/5.
    assert found["f1_nonnegative"] == pytest.approx(0.780952, abs=1e-6)


def test_measures_agree_with_scipy_and_scikit_learn():
    noise = np.random.default_rng(0)
    truth = noise.integers(-15, 16, 400) / 5  # Fifths, as five raters give; zeros among them.
    guess = truth + noise.normal(0, 1.5, 400)

    found = score_measures(truth, guess)

    some = truth != 0
    assert some.sum() < 400
    assert found["mae"] == pytest.approx(mean_absolute_error(truth, guess))
    assert found["corr"] == pytest.approx(pearsonr(truth, guess).statistic)
    signs = (truth[some] > 0, guess[some] > 0)
    assert found["acc2_nonzero"] == pytest.approx(accuracy_score(*signs))
    assert found["f1_nonzero"] == pytest.approx(f1_score(*signs, average="weighted"))
    whole = (truth >= 0, guess >= 0)
    assert found["acc2_nonnegative"] == pytest.approx(accuracy_score(*whole))
    assert found["f1_nonnegative"] == pytest.approx(f1_score(*whole, average="weighted"))
    sevens = [np.clip(np.round(x), -3, 3) for x in (truth, guess)]
    assert found["acc7"] == pytest.approx(accuracy_score(*sevens))


@pytest.mark.parametrize(
    ("score", "limit", "whole"),
    [
        (0.5, 3, 0),
        (1.5, 3, 2),
        (2.5, 3, 2),
        (-0.5, 3, 0),
        (-1.5, 3, -2),
        (3.7, 3, 3),
        (-9.0, 2, -2),
    ],
)
def test_halves_are_rounded_to_the_even_number(score, limit, whole):
    assert rounded(np.array([score]), limit).tolist() == [whole]


def test_a_correlation_with_a_constant_is_undefined():
    assert correlation(TRUTH, np.full(5, 0.3)) is None
    assert correlation(np.zeros(5), GUESS) is None
    assert correlation(TRUTH, 2 * TRUTH + 1) == pytest.approx(1)


def test_signs_of_nothing_but_zeros_are_undefined_without_zeros():
    found = sign_measures(
        np.zeros(3), np.array([True, False, False]), np.array([True, True, False])
    )

    assert found["acc2_nonzero"] is None
    assert found["f1_nonzero"] is None
    assert found["acc2_nonnegative"] == pytest.approx(2 / 3)


def test_a_class_that_is_never_predicted_has_an_f1_of_0():
    # Class 0 has two samples, class 1 one: F1 are 2*2/(2+3) = .8 and 0, weights 2/3 and 1/3.
    truth, guess = np.array([0, 0, 1]), np.array([0, 0, 0])

    assert weighted_f1(truth, guess) == pytest.approx(0.8 * 2 / 3)
    assert agreement(truth, guess)[0] == pytest.approx(2 / 3)
