"""Contrastive alignment: each modality picks its partner among those of other samples."""

from collections.abc import Mapping
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mmtrain.functional.similarity import unit


def infonce(
    features: Mapping[str, Float[Tensor, "batch width"]], temperature: float
) -> Float[Tensor, ""]:
    """Symmetric contrastive loss over the batch, in nats, at least 0, float32.

    For modalities ``j, l`` and ``S_ik = cos(z_i^j, z_k^l) / tau``:
    ``L = -1 / (2 B) sum_i [ln softmax_k(S_ik)_i + ln softmax_k(S_ki)_i]`` (LFM, Yang et al.,
    NeurIPS 2024, ``L_MM``); the mean over the unordered pairs of modalities. All other samples of
    the batch are negatives, those of the same class too. A batch of one has a loss of 0.

    Args:
        features: Modality to its features, two modalities or more. Only their directions matter.
        temperature: ``tau``, above 0.
    """
    first, *_ = features.values()
    partner = torch.arange(len(first), device=first.device)
    losses = []
    with torch.autocast(first.device.type, enabled=False):
        units = unit(torch.cat([*features.values()]))
        for one, other in combinations(units.chunk(len(features)), 2):
            alike = one @ other.T / temperature
            losses += [F.cross_entropy(alike, partner), F.cross_entropy(alike.T, partner)]
    return torch.stack(losses).mean()
