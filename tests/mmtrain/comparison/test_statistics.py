"""Planted differences are found, and where there is none, none is found more often than stated."""

import math

import numpy as np
import pytest
from scipy import stats

from mmtrain.comparison.statistics import (
    BETTER,
    UNDECIDED,
    WORSE,
    Difference,
    holm,
    interval,
    paired,
    verdict,
)


def answers(rng, *, seeds, samples, gain=0.0, between_seeds=0.0):
    """Two methods' right answers: samples differ in difficulty, seeds in skill."""
    difficulty = rng.normal(0.8, 1.0, samples)
    skills = rng.normal(0, between_seeds, (2, seeds, 1)) + np.array([gain, 0.0])[:, None, None]
    chance = stats.norm.cdf(difficulty + skills)
    return (rng.random(chance.shape) < chance).astype(np.float64)


@pytest.mark.parametrize(
    ("seeds", "between_seeds"), [(1, 0.0), (3, 0.0), (5, 0.0), (3, 0.15), (5, 0.15)]
)
def test_no_difference_is_found_where_there_is_none(seeds, between_seeds):
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(500):
        one, other = answers(rng, seeds=seeds, samples=150, between_seeds=between_seeds)
        found += paired(one, other).p < 0.05
    # 500 draws of a share of .05 are below .08 with probability .998.
    assert found / 500 < 0.08


def test_a_bootstrap_over_three_seeds_finds_too_much():
    rng = np.random.default_rng(11)
    found = {"bootstrap": 0, "paired": 0}
    for _ in range(150):
        one, other = answers(rng, seeds=3, samples=300, between_seeds=0.4)
        seeds = rng.multinomial(3, [1 / 3] * 3, 300) / 3
        samples = rng.multinomial(300, [1 / 300] * 300, 300) / 300
        means = np.einsum("bs,sn,bn->b", seeds, one - other, samples)
        low, high = np.quantile(means, [0.025, 0.975])
        found["bootstrap"] += not low <= 0 <= high
        found["paired"] += paired(one, other).p < 0.05
    assert found["bootstrap"] > 0.12 * 150
    assert found["paired"] < 0.1 * 150


@pytest.mark.parametrize("gain", [0.6, -0.6])
def test_a_planted_difference_is_found(gain):
    rng = np.random.default_rng(6)
    expected = BETTER if gain > 0 else WORSE
    decided = 0
    for _ in range(100):
        one, other = answers(rng, seeds=5, samples=400, gain=gain, between_seeds=0.1)
        difference = paired(one, other)
        decided += verdict(difference, difference.p) == expected
        assert difference.low < difference.mean < difference.high
    assert decided >= 95


def test_the_interval_covers_the_true_difference():
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(400):
        # Accuracy is 1 or 0 by a threshold that moves: the true mean difference is .05.
        effects = rng.normal(0, 0.05, (3, 1)) + rng.normal(0, 0.3, 200)
        d = 0.05 + effects + rng.normal(0, 0.3, (3, 200))
        difference = paired(d, np.zeros_like(d))
        covered += difference.low <= 0.05 <= difference.high
    assert covered / 400 > 0.93


def test_by_hand():
    # d = [[1, 0], [0, -1]]: mean 0; seeds .5, -.5; samples .5, -.5; no rest.
    # A = 2 (.25 + .25) / 1 = 1, B = 1, E = 0: variance 2 / 4, error .7071.
    one = np.array([[1.0, 0], [0, 0]])
    other = np.array([[0.0, 0], [0, 1]])
    difference = paired(one, other)
    assert difference.mean == 0
    assert difference.p == pytest.approx(1)
    # Freedom (1 + 1)^2 / (1 / 1 + 1 / 1) = 2: t = 4.30265.
    assert difference.high == pytest.approx(4.30265 * math.sqrt(0.5), rel=1e-5)


def test_of_one_seed_it_is_the_paired_test_over_samples():
    rng = np.random.default_rng(8)
    one, other = answers(rng, seeds=1, samples=300, gain=0.3)
    assert paired(one, other).p == pytest.approx(stats.ttest_rel(one[0], other[0]).pvalue)


def test_equal_methods_have_no_difference_and_constant_ones_a_certain_one():
    ones = np.ones((3, 20))
    assert paired(ones, ones) == Difference(mean=0, low=0, high=0, p=1)
    assert paired(ones, 0 * ones) == Difference(mean=1, low=1, high=1, p=0)


def test_the_estimate_is_never_below_its_parts():
    # Seeds agree and samples differ less than the rest does: the samples' mean square stands.
    d = np.array([[1.0, -1, 0.2, 0], [-1, 1, 0, 0.2]])
    difference = paired(d, np.zeros_like(d))
    assert difference.low < difference.mean < difference.high
    assert 0 < difference.p <= 1


def test_holm_by_hand():
    # In ascending order: 4 x .01, 3 x .02, 2 x .03 = .06 (not below the .06 before), 1 x .5.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([]) == []


def test_holm_keeps_the_family_below_the_error_rate():
    rng = np.random.default_rng(9)
    families = rng.random((2000, 10))
    wrong = np.mean([min(holm(list(family))) < 0.05 for family in families])
    assert wrong < 0.065


def test_verdicts():
    rise = Difference(mean=0.1, low=0.0, high=0.2, p=0.01)
    assert verdict(rise, 0.04) == BETTER
    assert verdict(rise, 0.05) == UNDECIDED
    assert verdict(Difference(mean=-0.1, low=-0.2, high=0.0, p=0.01), 0.04) == WORSE
    assert verdict(rise, math.nan) == UNDECIDED


def test_interval_of_three_seeds_is_students():
    low, high = interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx(
        (2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), rel=1e-5
    )
    assert interval([1.0]) == (-math.inf, math.inf)
