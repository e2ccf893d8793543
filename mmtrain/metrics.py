"""How good predictions are: accuracy, mean average precision, macro-F1, by scikit-learn."""

import warnings
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int
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
    with warnings.catch_warnings():
        # Of metrics that are 0 because a class was never predicted.
        warnings.simplefilter("ignore")
        precisions = [average_precision_score(truth == c, scores[:, c]) for c in present]
        macro_f1 = f1_score(truth, guess, average="macro", zero_division=0)
    return {
        "accuracy": float((guess == truth).mean()),
        "map": float(np.mean(precisions)),
        "macro_f1": float(macro_f1),
        "loss": float(F.cross_entropy(logits.double(), target)),
    }


def judged(
    fused: Tensor, by_modality: Mapping[str, Tensor], target: Tensor
) -> dict[str, float | dict[str, Measures]]:
    """`measures` of the fused logits, and under ``modalities`` those of each modality's own."""
    return {
        **measures(fused, target),
        "modalities": {m: measures(logits, target) for m, logits in by_modality.items()},
    }
