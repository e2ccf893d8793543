"""A transformer encoder (Vaswani et al., NeurIPS 2017) over tokens or steps of a sequence.

Differs from the paper: layers normalise before attention and before the feed-forward network, which
trains without warm-up; GELU for ReLU; no dropout unless asked for; keys have no bias, which a
softmax would not see.
"""

import math
from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.modalities import SEQUENCE, TOKENS
from mmtrain.models.encoders.base import InputSize, Stage
from mmtrain.models.encoders.steps import Steps, join_mask, split_mask
from mmtrain.models.layers import linear

POSITIONS: Final = ("sinusoidal", "learned")
_SPREAD: Final = 0.02  # of learned positions at the start


def sinusoidal(steps: int, width: int) -> Float[Tensor, "steps width"]:
    """``sin(t / 10000^(2i / width))`` in even entries, and the cosine in odd ones."""
    angles = torch.arange(steps)[:, None] * torch.exp(
        torch.arange(0, width, 2) * (-math.log(10_000) / width)
    )
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]


class Layer(nn.Module):
    """Self-attention and a feed-forward network, each normalised before and added to its input.

    Args:
        width: Entries of a step.
        heads: Number of attention heads, which divides ``width``.
        dropout: Probability of dropping an entry of what is added.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.norm_attention, self.norm_network = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.value, self.out = (linear(width, width) for _ in range(3))
        self.key = nn.Linear(width, width, bias=False)
        nn.init.xavier_normal_(self.key.weight)
        self.wide, self.narrow = linear(width, 4 * width), linear(4 * width, width)

    def forward(
        self, maps: Float[Tensor, "batch steps width_and_mask"]
    ) -> Float[Tensor, "batch steps width_and_mask"]:
        """Maps behind the layer."""
        steps, mask = split_mask(maps)
        steps = steps + self.dropout(self._attended(self.norm_attention(steps), mask))
        steps = steps + self.dropout(self.narrow(F.gelu(self.wide(self.norm_network(steps)))))
        return join_mask(steps, mask)

    def _attended(
        self, steps: Float[Tensor, "batch steps width"], mask: Bool[Tensor, "batch steps"]
    ) -> Float[Tensor, "batch steps width"]:
        """Every step's attention to the real steps."""
        queries, keys, values = (
            layer(steps).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        # All steps where none is real: a softmax over nothing is NaN.
        seen = mask | ~mask.any(1, keepdim=True)
        attended = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=seen[:, None, None]
        )
        out: Tensor = self.out(attended.transpose(1, 2).flatten(-2))
        return out


class Transformer(Steps):
    """Layers of self-attention over tokens, or over the steps of a sequence, and the mean.

    ``X = embed(x) + p``, ``Y = X + MHA(LN(X))``, ``X <- Y + FFN(LN(Y))`` in every layer, and
    ``phi`` the mean of ``LN(X)`` over real steps. Attention sees real steps only, so padding
    changes nothing; an input of nothing but padding has the feature 0. Tokens are embedded, steps
    of a sequence pass a linear layer; both are normalised before positions are added. Each layer is
    a stage, behind which fusions may act.

    Args:
        size: Number of tokens in the vocabulary, padding included, or of the features of a step.
        width: Entries of a step and of a feature vector.
        layers: Number of layers.
        heads: Number of attention heads, which divides ``width``.
        positions: Positions ``p``: ``sinusoidal`` or ``learned``.
        dropout: Probability of dropping an entry of what a layer adds; the paper has 0.1.
    """

    kinds = (TOKENS, SEQUENCE)

    def __init__(
        self,
        size: InputSize,
        *,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        positions: str = "sinusoidal",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if layers < 1 or heads < 1 or width < 1 or width % heads or not 0 <= dropout < 1:
            raise ConfigError(
                "transformer's layers is 1 or more, its heads divide width and its dropout is in "
                f"[0, 1); got {layers} layers, {heads} heads, width {width}, dropout {dropout}"
            )
        if positions not in POSITIONS:
            raise UnknownName("positions of transformer", positions, POSITIONS)
        self.width, self.stage_widths = width, (width,) * layers
        self.embed: nn.Embedding | nn.Linear
        self.of_tokens = size.kind == TOKENS
        if self.of_tokens:
            self.embed = nn.Embedding(int(size), width, padding_idx=0)
        else:
            self.embed = linear(int(size), width)
        self.norm_input, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        start = sinusoidal(size.shape[0], width)
        self.positions: Tensor | nn.Parameter
        if positions == "learned":
            self.positions = nn.Parameter(torch.empty_like(start).normal_(std=_SPREAD))
        else:
            self.register_buffer("positions", start, persistent=False)
        self.layers = nn.ModuleList(Layer(width, heads, dropout) for _ in range(layers))

    def begin(
        self, inputs: Shaped[Tensor, "batch steps ..."]
    ) -> Float[Tensor, "batch steps width_and_mask"]:
        """Embedded steps with their positions and their mask."""
        if self.of_tokens:
            embedded, mask = self.embed(inputs), inputs > 0
        else:
            features, mask = split_mask(inputs)
            embedded = self.embed(features)
        steps = self.norm_input(embedded) + self.positions[: inputs.shape[1]]
        return join_mask(steps, mask)

    def stages(self) -> Sequence[Stage]:
        """The layers in order."""
        return [*self.layers]

    def finish(
        self, maps: Float[Tensor, "batch steps width_and_mask"]
    ) -> Float[Tensor, "batch features"]:
        """The mean over real steps, which are normalised before."""
        steps, mask = split_mask(maps)
        return self.pool(join_mask(self.norm(steps), mask))

    def tokens(
        self, inputs: Shaped[Tensor, "batch steps ..."]
    ) -> Float[Tensor, "batch steps features"]:
        """Normalised steps behind the last layer; 0 at padding."""
        steps, mask = split_mask(self._maps(inputs))
        normed: Tensor = self.norm(steps)
        return normed * mask[..., None]

    def filters(self) -> list[Tensor]:
        """Weights of the layers' linear maps, a row for each of their outputs."""
        weights = [m.weight for m in self.layers.modules() if isinstance(m, nn.Linear)]
        return [weight for weight in weights if weight.requires_grad]
