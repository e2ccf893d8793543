"""Confidence of a modality, and its lead over the others."""

from collections.abc import Mapping
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Below it a score is none at all, and a ratio of two such scores is 1.
_FLOOR: Final = 1e-8


def confidence(
    logits: Float[Tensor, "batch classes"], target: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Probability of the target class, in [0, 1], float32.

    ``s_i = softmax(u_i)[y_i]`` (OGM, Wei et al., TPAMI 2024, below Eq. 6).
    """
    return logits.float().softmax(-1).gather(-1, target[:, None].long()).squeeze(-1)


def discrepancy(scores: Mapping[str, Float[Tensor, ""]]) -> dict[str, Float[Tensor, ""]]:
    """How far each modality is ahead: above 1 ahead of the others on average, 1 level.

    ``rho^m = 1 / (M - 1) * sum_{j != m} S^m / S^j`` (OGM, Wei et al., TPAMI 2024, Eq. 7): the mean
    of the ratios of sums. With two modalities the ratios are each other's inverse; with three or
    more, several may be above 1. A modality alone has 1.

    Args:
        scores: Modality to ``S^m``, not negative: `confidence` summed over the samples of all
            ranks. Only ratios matter, so a mean does as well. Below 1e-8 it counts as 1e-8.
    """
    floored = {m: score.clamp(min=_FLOOR) for m, score in scores.items()}
    return {
        m: torch.stack([score / s for j, s in floored.items() if j != m] or [score / score]).mean()
        for m, score in floored.items()
    }


def entropy(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """Entropy of ``softmax(logits)`` in nats, in [0, ln classes], float32.

    ``H = -sum_c p_c ln p_c`` (AMSS, TPAMI 2025, the ``H(X)`` below Eq. 2).
    """
    log_probs = logits.float().log_softmax(-1)
    return -(log_probs.exp() * log_probs).sum(-1)
