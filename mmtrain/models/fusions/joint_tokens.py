"""One transformer over the tokens of all modalities, which attend to each other."""

from collections.abc import Mapping
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.errors import ConfigError
from mmtrain.models.encoders.steps import join_mask, masked_mean, split_mask
from mmtrain.models.encoders.transformer import Layer
from mmtrain.models.layers import linear

_SPREAD: Final = 0.02  # of embeddings at the start


class JointTransformer(nn.Module):
    """Projects tokens to one width, joins all modalities', and averages them behind some layers.

    ``X = [P^1 x^1 + e^1; ..; P^M x^M + e^M]``, self-attention and feed-forward layers, and the mean
    of ``LN(X)``. ``e^m`` has a vector for each token of each modality, so it stands for time, place
    and modality at once. A token that is all 0 is neither attended to nor averaged: it is padding,
    or of a modality that is dropped, or set to 0 for a share.

    Args:
        kind: Name of the fusion, for messages.
        shapes: Modality to its number of tokens and the features of one.
        hidden: Width to which tokens are projected.
        layers: Number of layers.
        heads: Number of attention heads, which divides ``hidden``.
    """

    def __init__(
        self,
        kind: str,
        shapes: Mapping[str, tuple[int, int]],
        *,
        hidden: int,
        layers: int,
        heads: int,
    ) -> None:
        super().__init__()
        if layers < 1 or heads < 1 or hidden < 1 or hidden % heads:
            raise ConfigError(
                f"{kind}'s layers is 1 or more and its heads divide hidden; got {layers} layers, "
                f"{heads} heads, hidden {hidden}"
            )
        self.projections = nn.ModuleDict({m: linear(w, hidden) for m, (_, w) in shapes.items()})
        self.embeddings = nn.ParameterDict(
            {m: torch.empty(n, hidden).normal_(std=_SPREAD) for m, (n, _) in shapes.items()}
        )
        self.layers = nn.ModuleList(Layer(hidden, heads, 0.0) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)

    def forward(
        self, tokens: Mapping[str, Float[Tensor, "batch _ _"]]
    ) -> Float[Tensor, "batch hidden"]:
        """The mean of all real tokens behind the last layer."""
        joined = torch.cat(
            [layer(tokens[m]) + self.embeddings[m] for m, layer in self.projections.items()], dim=1
        )
        real = torch.cat([(tokens[m] != 0).any(-1) for m in self.projections], dim=1)
        maps = join_mask(joined, real)
        for layer in self.layers:
            maps = layer(maps)
        steps, mask = split_mask(maps)
        return masked_mean(self.norm(steps), mask)
