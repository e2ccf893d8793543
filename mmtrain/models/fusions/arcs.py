"""Fusion along arcs of the unit sphere."""

from collections.abc import Mapping
from itertools import combinations
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mmtrain.models.fusions import Fusion
from mmtrain.models.layers import linear

_OFF: Final = 1e-6


def unit(features: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
    """Features scaled to length 1; 0 stays 0."""
    return F.normalize(features, dim=-1, eps=_OFF)


def geodesic(
    first: Float[Tensor, "*batch width"], second: Float[Tensor, "*batch width"], weight: Tensor
) -> Float[Tensor, "*batch width"]:
    """The point at ``(1 - weight) theta`` from ``first`` on the arc to ``second``, Eq. 1.

    ``sin(lambda theta) / sin(theta) first + sin((1 - lambda) theta) / sin(theta) second`` with
    ``theta = arccos <first, second>``. Its length is 1. Directions nearer than .0014 rad,
    or so near to being opposite, count as that far apart.

    Args:
        first: Vectors of length 1.
        second: Vectors of length 1.
        weight: ``lambda``, in [0, 1]; broadcasts against a batch of scalars.
    """
    cosine = (first * second).sum(-1, keepdim=True).clamp(_OFF - 1, 1 - _OFF)
    theta = cosine.arccos()
    share = weight[..., None]
    return ((share * theta).sin() * first + ((1 - share) * theta).sin() * second) / theta.sin()


def chord(
    first: Float[Tensor, "*batch width"], second: Float[Tensor, "*batch width"], weight: Tensor
) -> Float[Tensor, "*batch width"]:
    """``lambda first + (1 - lambda) second``, the ablation; of a length below 1 inside."""
    return weight[..., None] * first + (1 - weight[..., None]) * second


class Arcs(Fusion):
    """Each pair of modalities at a point of its arc, and a linear layer that classifies it.

    By itself it fuses halfway and takes the mean logits of all pairs; a modality's share is the
    mean logits of its pairs at its end of their arcs. Shares do not sum to the fused logits.

    Args:
        widths: Modality to the width of its features; all the same.
        classes: Number of classes.
        single: Whether one layer serves all pairs, and not one each.
        mixup: ``geodesic`` or ``linear``.

    Attributes:
        pairs: Pairs of modalities, in their order.
    """

    additive = False

    def __init__(
        self, widths: Mapping[str, int], classes: int, *, single: bool, mixup: str
    ) -> None:
        super().__init__(widths, classes)
        self.pairs = [*combinations(widths, 2)]
        width = next(iter(widths.values()))
        heads = 1 if single else len(self.pairs)
        self.heads = nn.ModuleList(linear(width, classes) for _ in range(heads))
        self._mix = geodesic if mixup == "geodesic" else chord

    def ends(
        self, features: Mapping[str, Tensor], chosen: slice = slice(None)
    ) -> tuple[Float[Tensor, "pairs batch width"], Float[Tensor, "pairs batch width"]]:
        """Directions at which the arcs of the chosen pairs begin and end."""
        first, second = zip(*self.pairs[chosen], strict=True)
        return (
            unit(torch.stack([features[m] for m in first])),
            unit(torch.stack([features[m] for m in second])),
        )

    def logits_at(
        self,
        ends: tuple[Tensor, Tensor],
        weights: Float[Tensor, " pairs"],
        chosen: slice = slice(None),
    ) -> Float[Tensor, "pairs batch classes"]:
        """Logits of the chosen pairs at the points that ``weights`` name, see `geodesic`."""
        mixed = self._mix(*ends, weights[:, None])
        heads = [self.heads[i % len(self.heads)] for i in range(len(self.pairs))[chosen]]
        return torch.stack([head(point) for head, point in zip(heads, mixed.unbind(), strict=True)])

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Mean logits of all pairs, halfway."""
        ends = self.ends(features)
        return self.logits_at(ends, ends[0].new_full((len(self.pairs),), 0.5)).mean(0)

    def split(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Mean logits at each modality's end of its arcs."""
        ends = self.ends(features)
        at_first, at_second = (
            self.logits_at(ends, ends[0].new_full((len(self.pairs),), w)) for w in (1.0, 0.0)
        )
        own: dict[str, list[Tensor]] = {m: [] for m in self.widths}
        for (first, second), one, other in zip(self.pairs, at_first, at_second, strict=True):
            own[first].append(one)
            own[second].append(other)
        return {m: torch.stack(logits).mean(0) for m, logits in own.items()}
