"""Measures of predictions: accuracy, mean average precision and macro-F1, by scikit-learn."""

import statistics
import warnings
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import sklearn
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score
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
    present = np.unique(truth)
    # Its checks of parameters, class by class, take as long as the measures themselves.
    with warnings.catch_warnings(), sklearn.config_context(skip_parameter_validation=True):
        # scikit-learn warns of every class that was never predicted; its F1 is 0, as it should be.
        warnings.simplefilter("ignore")
        precisions = [average_precision_score(truth == c, scores[:, c]) for c in present]
        macro_f1 = f1_score(truth, guess, average="macro", zero_division=0)
    return {
        "accuracy": float((guess == truth).mean()),
        "map": float(np.mean(precisions)),
        "macro_f1": float(macro_f1),
        "loss": float(F.cross_entropy(logits.double(), target)),
    }


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
                "ap": float(average_precision_score(truth == c, scores[:, c])) if count else None,
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
