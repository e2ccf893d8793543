"""Measures of predicted scores in [-3, 3], such as the sentiment of CMU-MOSI.

Scores are rounded to whole numbers by NumPy's rule, halves to the even one (0.5 to 0, 1.5 to 2),
as the published code has it. Where a measure is undefined, it is None: a correlation with a
constant, or a share of no samples.
"""

import warnings
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

Scores = NDArray[np.floating[Any]]
MEASURED: Final = (
    *("mae", "corr", "acc7", "acc5", "acc2_nonzero", "f1_nonzero"),
    *("acc2_nonnegative", "f1_nonnegative"),
)


def score_measures(truth: Scores, guess: Scores) -> dict[str, float | None]:
    """All measures of predicted scores.

    Args:
        truth: True scores (n,).
        guess: Predicted scores (n,).
    """
    t, p = truth.astype(np.float64), guess.astype(np.float64)
    return {
        "mae": float(np.abs(t - p).mean()),
        "corr": correlation(t, p),
        "acc7": float((rounded(t, 3) == rounded(p, 3)).mean()),
        "acc5": float((rounded(t, 2) == rounded(p, 2)).mean()),
        **sign_measures(t, p > 0, p >= 0),
    }


def sign_measures(
    truth: Scores, positive: NDArray[np.bool_], nonnegative: NDArray[np.bool_]
) -> dict[str, float | None]:
    """Accuracy and weighted F1 of signs by both conventions.

    ``nonzero`` leaves samples of score 0 out and asks for positive or negative; ``nonnegative``
    asks of all whether the score is at least 0.

    Args:
        truth: True scores (n,).
        positive: (n,) whether the prediction is above 0.
        nonnegative: (n,) whether it is at least 0.
    """
    some = truth != 0
    without = agreement(truth[some] > 0, positive[some])
    whole = agreement(truth >= 0, nonnegative)
    return {
        "acc2_nonzero": without[0],
        "f1_nonzero": without[1],
        "acc2_nonnegative": whole[0],
        "f1_nonnegative": whole[1],
    }


def agreement(truth: NDArray[Any], guess: NDArray[Any]) -> tuple[float | None, float | None]:
    """Accuracy, and F1 averaged over the classes by their numbers of true samples."""
    if not len(truth):
        return None, None
    return float((truth == guess).mean()), weighted_f1(truth, guess)


def weighted_f1(truth: NDArray[Any], guess: NDArray[Any]) -> float:
    """F1 of each class, averaged by the classes' numbers of true samples."""
    with warnings.catch_warnings():
        # scikit-learn warns of a class that was never predicted; its F1 is 0, as it should be.
        warnings.simplefilter("ignore")
        return float(f1_score(truth, guess, average="weighted", zero_division=0))


def correlation(truth: Scores, guess: Scores) -> float | None:
    """Pearson's correlation, in [-1, 1]; None where one of them is constant."""
    t, p = truth - truth.mean(), guess - guess.mean()
    scale = float(np.sqrt((t @ t) * (p @ p)))
    if scale == 0 or np.ptp(truth) == 0 or np.ptp(guess) == 0:
        return None
    return float(np.clip(t @ p / scale, -1, 1))


def rounded(scores: Scores, limit: int) -> NDArray[np.int64]:
    """Nearest whole numbers in [-limit, limit]; halves go to the even one."""
    return np.round(np.clip(scores, -limit, limit)).astype(np.int64)
