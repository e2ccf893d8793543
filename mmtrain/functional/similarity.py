"""Similarity of the modalities' vectors, sample by sample."""

from collections.abc import Mapping
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def cosine(
    first: Float[Tensor, "batch width"], second: Float[Tensor, "batch width"]
) -> Float[Tensor, " batch"]:
    """``<a, b> / (|a| |b|)`` of each row, in [-1, 1], float32; 0 where a vector is zero."""
    return (unit(first) * unit(second)).sum(-1).clamp(-1, 1)


def agreement(vectors: Mapping[str, Float[Tensor, "batch width"]]) -> Float[Tensor, " batch"]:
    """Mean cosine over the unordered pairs of modalities, in [-1, 1]; a modality alone has 1.

    ``sim_i = 2 / (M (M - 1)) * sum_{m < j} cos(p_i^m, p_i^j)`` (BSS, IJCAI 2025, talk: the
    correlation criterion, where ``p`` are probabilities; more than two as in the authors' code).

    Example:
        >>> probs = {"audio": torch.tensor([[0.6, 0.8]]), "visual": torch.tensor([[0.8, 0.6]])}
        >>> round(agreement(probs).item(), 2)
        0.96
    """
    pairs = [cosine(a, b) for a, b in combinations(vectors.values(), 2)]
    if not pairs:
        (alone,) = vectors.values()
        return torch.ones_like(alone[:, 0], dtype=torch.float32)
    return torch.stack(pairs).mean(0)


def unit(vectors: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
    """Rows of length 1, float32; a row of zeros stays.

    Each row is scaled by its peak first, so that squares neither over- nor underflow.
    """
    rows = vectors.float()
    peak = rows.detach().abs().amax(-1, keepdim=True)
    return F.normalize(rows / torch.where(peak > 0, peak, 1), dim=-1)
