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
    """Directions: vectors of length 1; 0 stays 0."""
    return F.normalize(features, dim=-1, eps=_OFF)


def geodesic(
    first: Float[Tensor, "*batch width"], second: Float[Tensor, "*batch width"], weight: Tensor
) -> Float[Tensor, "*batch width"]:
    """The point at ``(1 - weight) theta`` from ``first`` on the arc to ``second``, Eq. 1.

    ``sin(lambda theta) / sin(theta) first + sin((1 - lambda) theta) / sin(theta) second`` with
    ``theta = arccos <first, second>``. Of length 1. Directions nearer than .0014 rad, or so near to
    being opposite, count as so far apart.

    Args:
        first: Of length 1.
        second: Of length 1.
        weight: ``lambda``, in [0, 1]; broadcasts against a batch of scalars.
    """
    cosine = (first * second).sum(-1, keepdim=True).clamp(_OFF - 1, 1 - _OFF)
    theta = cosine.arccos()
    share = weight[..., None]
    return ((share * theta).sin() * first + ((1 - share) * theta).sin() * second) / theta.sin()


def straight(
    first: Float[Tensor, "*batch width"], second: Float[Tensor, "*batch width"], weight: Tensor
) -> Float[Tensor, "*batch width"]:
    """``lambda first + (1 - lambda) second``, the ablation; shorter than 1 between directions."""
    return weight[..., None] * first + (1 - weight[..., None]) * second


class Arcs(Fusion):
    """Each pair of modalities at a point of its arc, and a linear layer that says the class of it.

    By itself it fuses halfway, and says the mean over pairs; a modality's share is what the layers
    of its pairs say at its end.

    Args:
        widths: Modality to the width of its features; all the same.
        classes: Number of classes.
        single: One layer for all pairs, not one for each.
        mixup: ``geodesic`` or ``linear``.

    Attributes:
        pairs: Of modalities, in their order.
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
        self._mix = geodesic if mixup == "geodesic" else straight

    def ends(
        self, features: Mapping[str, Tensor], chosen: slice = slice(None)
    ) -> tuple[Float[Tensor, "pairs batch width"], Float[Tensor, "pairs batch width"]]:
        """Where the arcs of the chosen pairs begin and end."""
        first, second = zip(*self.pairs[chosen], strict=True)
        return (
            unit(torch.stack([features[m] for m in first])),
            unit(torch.stack([features[m] for m in second])),
        )

    def said(
        self,
        ends: tuple[Tensor, Tensor],
        weights: Float[Tensor, " pairs"],
        chosen: slice = slice(None),
    ) -> Float[Tensor, "pairs batch classes"]:
        """Logits of the chosen pairs, at the points of these weights."""
        mixed = self._mix(*ends, weights[:, None])
        heads = [self.heads[i % len(self.heads)] for i in range(len(self.pairs))[chosen]]
        return torch.stack([head(point) for head, point in zip(heads, mixed.unbind(), strict=True)])

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Fused logits, halfway."""
        ends = self.ends(features)
        return self.said(ends, ends[0].new_full((len(self.pairs),), 0.5)).mean(0)

    def split(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is said at each modality's end of its arcs."""
        ends = self.ends(features)
        begun, ended = (
            self.said(ends, ends[0].new_full((len(self.pairs),), w)) for w in (1.0, 0.0)
        )
        own: dict[str, list[Tensor]] = {m: [] for m in self.widths}
        for (first, second), one, other in zip(self.pairs, begun, ended, strict=True):
            own[first].append(one)
            own[second].append(other)
        return {m: torch.stack(logits).mean(0) for m, logits in own.items()}
