"""Attention across modalities, after VATT (Akbari et al., NeurIPS 2021).

OGM's paper names VATT for its "cross-modal attention" and gives neither equation nor sizes, so this
is our reading: one transformer block over tokens of the last stage, in which each modality attends
to all others. Tokens are first averaged to a fixed number, which bounds the cost, lets positions be
learnt, and keeps every modality's features apart until the block, where OGM and OPM act.
"""

import math
from collections.abc import Mapping
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mmtrain.errors import ConfigError
from mmtrain.models.encoders.base import Encoder
from mmtrain.models.fusions.base import Features, Fusion, zero_out
from mmtrain.models.fusions.stages import Widths
from mmtrain.models.layers import linear

_SPREAD: Final = 0.02  # of embeddings at the start, as in ViT


def attend(
    queries: Float[Tensor, "*batch queries width"],
    keys: Float[Tensor, "*batch keys width"],
    values: Float[Tensor, "*batch keys width"],
) -> Float[Tensor, "*batch queries width"]:
    """``softmax(Q K^T / sqrt(width)) V``."""
    scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])
    return scores.softmax(-1) @ values


class CrossBlock(nn.Module):
    """Pre-norm transformer block of one modality whose keys and values are those of the others.

    Args:
        hidden: Width of a token.
        heads: Number of heads, which divides ``hidden``.
    """

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (linear(hidden, hidden) for _ in range(4))
        self.norm = nn.LayerNorm(hidden)
        self.wide, self.narrow = linear(hidden, 4 * hidden), linear(4 * hidden, hidden)

    def forward(
        self,
        tokens: Float[Tensor, "batch own hidden"],
        normed: Float[Tensor, "batch own hidden"],
        others: Float[Tensor, "batch places hidden"],
    ) -> Float[Tensor, "batch own hidden"]:
        """Tokens that have attended to the others', which are normalised, as is ``normed``."""
        queries, keys, values = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, normed), (self.key, others), (self.value, others))
        )
        tokens = tokens + self.out(attend(queries, keys, values).transpose(1, 2).flatten(-2))
        updated: Tensor = tokens + self.narrow(F.gelu(self.wide(self.norm(tokens))))
        return updated


class Attention(Fusion):
    """Tokens of each modality attend to those of all others; their means are classified.

    ``X^m = P^m tokens^m + e^m`` with an embedding ``e`` for each modality and place,
    ``Y^m = X^m + MHA(Q = LN(X^m), K = V = [LN(X^j), j != m])`` with all ``X`` from before,
    ``Z^m = Y^m + FFN(LN(Y^m))``, ``f = [mean Z^1; ...; mean Z^M] W^T + b``.

    The features are the ``tokens`` of a modality side by side: its last stage's places in order,
    averaged in runs to a fixed number. So each encoder can run alone, and dropping features drops
    them before modalities meet.

    Share, not exact: ``u^m`` is the logits of ``phi^m`` when the tokens of all others are 0, less
    ``(1 - 1/M)`` of the logits of no input; of the others their embeddings remain.

    Args:
        widths: Modality to the width of its encoder; two or more, and the encoders give tokens.
        classes: Number of classes.
        tokens: Number of tokens of each modality.
        hidden: Width of the tokens in the block.
        heads: Number of attention heads, which divides ``hidden``.
    """

    additive = False

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        tokens: int = 8,
        hidden: int = 512,
        heads: int = 8,
    ) -> None:
        super().__init__(widths, classes)
        if len(widths) < 2:
            raise ConfigError(f"attention needs two modalities or more; got {', '.join(widths)}")
        if tokens < 1 or heads < 1 or hidden % heads:
            raise ConfigError(
                "attention's tokens is 1 or more and its heads divide hidden; got "
                f"{tokens} tokens, {heads} heads, hidden {hidden}"
            )
        self.tokens = tokens
        each = widths.tokens if isinstance(widths, Widths) else widths
        self.feature_widths = {m: tokens * each[m] for m in widths}
        self.projections = nn.ModuleDict({m: linear(each[m], hidden) for m in widths})
        self.embeddings = nn.ParameterDict(
            {m: torch.empty(tokens, hidden).normal_(std=_SPREAD) for m in widths}
        )
        self.norms = nn.ModuleDict({m: nn.LayerNorm(hidden) for m in widths})
        self.blocks = nn.ModuleDict({m: CrossBlock(hidden, heads) for m in widths})
        self.head = linear(hidden * len(widths), classes)

    def encode(
        self, encoders: Mapping[str, Encoder], prepared: Mapping[str, Tensor]
    ) -> dict[str, Float[Tensor, "batch _"]]:
        """Tokens of each modality, averaged in runs to their number, side by side."""
        features = {}
        for modality, encoder in encoders.items():
            places = encoder.tokens(prepared[modality]).float().transpose(1, 2)
            features[modality] = (
                F.adaptive_avg_pool1d(places, self.tokens).transpose(1, 2).flatten(1)
            )
        return features

    def forward(self, features: Features) -> Tensor:
        """Fused logits."""
        tokens, normed = {}, {}
        for m in self.modalities:
            projected = self.projections[m](
                features[m].view(-1, self.tokens, self.feature_widths[m] // self.tokens)
            )
            tokens[m] = projected + self.embeddings[m]
            normed[m] = self.norms[m](tokens[m])
        pooled = []
        for m in self.modalities:
            others = torch.cat([normed[j] for j in self.modalities if j != m], dim=1)
            pooled.append(self.blocks[m](tokens[m], normed[m], others).mean(1))
        logits: Tensor = self.head(torch.cat(pooled, dim=-1))
        return logits

    def split(self, features: Features) -> dict[str, Tensor]:
        """Each modality's share by zeroing the others; see the class."""
        return zero_out(self.forward, features)
