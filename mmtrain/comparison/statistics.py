"""Statistics of a comparison: deviations over seeds, paired tests, and correction for many methods.

All runs of a comparison are measured on the same samples, so two methods are compared sample by
sample, seed by seed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

BETTER: Final = "better"
WORSE: Final = "worse"
UNDECIDED: Final = "no difference shown"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Mean difference of two methods.

    Attributes:
        mean: Mean of one method less that of the other.
        low: Lower end of the confidence interval.
        high: Upper end of the confidence interval.
        p: Two-sided probability of so large a difference where there is none.
    """

    mean: float
    low: float
    high: float
    p: float


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the mean of ``values``, by Student's t; unbounded for one value.

    Args:
        values: Results, one a seed, at least one.
        level: Probability that the interval covers the mean, in (0, 1).
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return -math.inf, math.inf
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = float(stdtrit(len(values) - 1, (1 + level) / 2)) * error
    return mean - reach, mean + reach


def paired(one: NDArray[np.float64], other: NDArray[np.float64], level: float = 0.95) -> Difference:
    """Compares two methods by what both give for the same samples, over seeds and samples at once.

    With ``d`` = one - other, (S, N), seeds and samples are two random effects: had others been
    drawn, the mean would be another. Its variance is ``(A + B - E) / (S N)``, where ``A`` and ``B``
    are the mean squares between seeds and between samples and ``E`` that of the rest (two-way
    analysis of variance without repetition), and its degrees of freedom are Satterthwaite's. ``A``
    alone would ask whether other seeds give the same on these very samples. A bootstrap over seeds
    and samples takes three or five seeds for the whole population: where seeds differ more than
    samples do, it finds differences that are not there several times as often as it should, which
    the test of this module shows.

    Args:
        one: (S, N) values of a method, such as 1 where it is right: S seeds, N samples.
        other: (S, N) values of the other, of the same seeds and samples.
        level: Probability that the interval covers the difference, in (0, 1).
    """
    d = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    seeds, samples = d.shape
    mean = float(d.mean())
    by_seed, by_sample = d.mean(1) - mean, d.mean(0) - mean
    a = samples * float(by_seed @ by_seed) / max(seeds - 1, 1)
    b = seeds * float(by_sample @ by_sample) / max(samples - 1, 1)
    rest = d - mean - by_seed[:, None] - by_sample
    e = float((rest**2).sum()) / max((seeds - 1) * (samples - 1), 1)
    if seeds == 1:
        a = e = 0.0  # One seed tells nothing of others: the test is of samples alone.
    degrees = max(seeds - 1, 1), max(samples - 1, 1)
    # The sum may come out below either of its parts, or below 0, for it is an estimate.
    numerator = max(a + b - e, a, b)
    if numerator == 0:
        return Difference(mean=mean, low=mean, high=mean, p=1.0 if mean == 0 else 0.0)
    if numerator == a + b - e:
        spread = a**2 / degrees[0] + b**2 / degrees[1] + e**2 / (degrees[0] * degrees[1])
        freedom = numerator**2 / spread
    else:
        freedom = degrees[0] if numerator == a else degrees[1]
    error = math.sqrt(numerator / (seeds * samples))
    reach = float(stdtrit(freedom, (1 + level) / 2)) * error
    p = 2 * float(stdtr(freedom, -abs(mean) / error))
    return Difference(mean=mean, low=mean - reach, high=mean + reach, p=p)


def holm(p: Sequence[float]) -> list[float]:
    """Probabilities after Holm's correction (1979), so that all decisions together err seldom.

    ``p'_(i) = max_{j <= i} min(1, (n - j + 1) p_(j))`` for the ``n`` values in ascending order.
    """
    order = np.argsort(np.asarray(p, np.float64), kind="stable")
    corrected, largest = [0.0] * len(p), 0.0
    for rank, place in enumerate(order.tolist()):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = largest
    return corrected


def verdict(difference: Difference, p: float, error_rate: float = 0.05) -> str:
    """What a row of a table may say: better, worse, or that no difference was shown.

    Args:
        difference: Difference from the baseline, where more is better.
        p: Its probability after correction.
        error_rate: Share of comparisons without a difference that may be called one.
    """
    if not p < error_rate:
        return UNDECIDED
    return BETTER if difference.mean > 0 else WORSE
