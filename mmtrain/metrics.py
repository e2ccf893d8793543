"""Measures of predictions: accuracy, mean average precision and macro-F1, as of scikit-learn.

They are computed here: scikit-learn takes a second to import, in every process that trains, and its
checks take longer than an epoch of a small run.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Measures: TypeAlias = dict[str, float]


def measures(logits: Float[Tensor, "samples classes"], target: Int[Tensor, " samples"]) -> Measures:
    """``accuracy``, ``map``, ``macro_f1`` and ``loss`` of one set of predictions.

    ``map`` is scikit-learn's step-wise average precision of each class against the rest, on
    softmax probabilities, averaged over the classes that ``target`` has (OGM, TPAMI 2024, Eq. 19;
    a class without a sample has no precision). ``macro_f1`` averages over the classes that are in
    ``target`` or predicted. ``loss`` is the mean cross-entropy. Ties go to the lowest class.
    """
    scores = logits.double().softmax(-1).cpu().numpy()
    truth, guess = target.cpu().numpy(), scores.argmax(-1)
    precisions = [average_precision(scores[:, c], truth == c) for c in np.unique(truth)]
    return {
        "accuracy": float((guess == truth).mean()),
        "map": float(np.mean(precisions)),
        "macro_f1": float(f1_of_classes(truth, guess)[0].mean()),
        "loss": float(F.cross_entropy(logits.double(), target)),
    }


def average_precision(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Step-wise average precision ``sum_n (R_n - R_{n-1}) P_n``, in [0, 1], of one class.

    ``P_n`` and ``R_n`` are precision and recall of the samples whose score is at least the n-th
    largest; equal scores make one step.

    Args:
        scores: Score (n,) of each sample.
        truth: (n,) whether a sample is of the class; at least one is.

    Raises:
        ValueError: A score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    order = np.argsort(scores)[::-1]
    falling = scores[order]
    ends = np.append(np.flatnonzero(falling[1:] != falling[:-1]), len(falling) - 1)
    hits = truth[order].cumsum()[ends]
    # From the smallest score up, so that sums are rounded as those of scikit-learn.
    precision = (hits / (1 + ends))[::-1]
    recall = np.append((hits / hits[-1])[::-1], 0.0)
    return max(0.0, -float((np.diff(recall) * precision).sum()))


def f1_of_classes(
    truth: NDArray[Any], guess: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """F1, and number of true samples, of each class that is in ``truth`` or ``guess``.

    Args:
        truth: True class (n,) of each sample.
        guess: Predicted class (n,) of each.
    """
    classes, places = np.unique(np.concatenate([truth, guess]), return_inverse=True)
    true, guessed = np.split(places, 2)
    counts, guesses, hits = (
        np.bincount(each, minlength=len(classes)) for each in (true, guessed, true[true == guessed])
    )
    return 2 * hits / (counts + guesses), counts


def of_outputs(
    fused: Tensor, by_modality: Mapping[str, Tensor], target: Tensor
) -> dict[str, float | dict[str, Measures]]:
    """`measures` of the fused logits, and under ``modalities`` of each modality's own logits."""
    return {
        **measures(fused, target),
        "modalities": {m: measures(logits, target) for m, logits in by_modality.items()},
    }


def by_class(
    logits: Float[Tensor, "samples classes"],
    target: Int[Tensor, " samples"],
    names: Sequence[str],
) -> list[dict[str, str | int | float | None]]:
    """``name``, ``count``, ``accuracy``, ``ap`` and ``f1`` of each class, in the order of its id.

    ``accuracy`` is the share of the class's samples that were predicted as that class, ``ap`` its
    average precision against the rest; both are None for a class without a sample. ``f1`` is None
    for a class that is neither in ``target`` nor predicted. The means of the other values are the
    ``map`` and ``macro_f1`` of `measures`.
    """
    scores = logits.double().softmax(-1).cpu().numpy()
    table, truth = confusion(logits, target), target.cpu().numpy()
    rows: list[dict[str, str | int | float | None]] = []
    for c, name in enumerate(names):
        count, guessed, hits = (int(n) for n in (table[c].sum(), table[:, c].sum(), table[c, c]))
        rows.append(
            {
                "name": name,
                "count": count,
                "accuracy": hits / count if count else None,
                "ap": average_precision(scores[:, c], truth == c) if count else None,
                "f1": 2 * hits / (count + guessed) if count + guessed else None,
            }
        )
    return rows


def confusion(
    logits: Float[Tensor, "samples classes"], target: Int[Tensor, " samples"]
) -> NDArray[np.int64]:
    """Number of samples, (C, C), of each true class (row) and predicted class (column)."""
    # The largest probability decides, as in `measures`: logits that differ may tie there.
    guess = logits.double().softmax(-1).cpu().numpy().argmax(-1)
    classes = logits.shape[-1]
    pairs = target.cpu().numpy() * classes + guess
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def calibration_error(
    probabilities: Float[Tensor, "rows classes"], target: Int[Tensor, " rows"], bins: int = 15
) -> float:
    """Expected calibration error, in [0, 1] (Guo et al., ICML 2017, Eq. 3).

    ``sum_b n_b / n |acc_b - conf_b|`` over ``bins`` equal intervals ``(i / bins, (i + 1) / bins]``
    of the largest probability, with accuracy and mean of that probability in each.

    Args:
        probabilities: Probabilities of each row, which sum to 1; at least one row.
        target: True class of each row.
        bins: Number of intervals, at least 1.
    """
    sure, guess = probabilities.double().max(-1)
    right = (guess == target).double()
    place = (sure * bins).ceil().long().sub(1).clamp(0, bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, right - sure)
    return float(gap.abs().sum() / len(sure))


def mean_and_std(values: Sequence[float]) -> dict[str, float]:
    """``mean`` and ``std``, the sample standard deviation, which is 0 for a single value."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "std": deviation}
