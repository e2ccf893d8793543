"""Weighting of the modalities' decisions (CMML, Yang et al., IJCAI 2019).

Differs from OMML's code, where the weights of the two modalities are exchanged, and from AMSS's,
whose gate is by feature. Weights are put on logits, the reading of "decision level".
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.models.fusions.base import Features, Fusion
from mmtrain.models.layers import linear


class Weight(Fusion):
    """Each modality's own logits, weighted for every sample by a score of its features.

    ``a^m = w . tanh(phi^m W^T + c) + c'`` with one network for all modalities,
    ``lambda = softmax over m of a``, ``f = sum_m lambda^m (phi^m (V^m)^T + c^m)``.

    Share: ``u^m = lambda^m (phi^m (V^m)^T + c^m)``. Exact: the shares sum to ``f``. A share depends
    on the other modalities through ``lambda``, and where ``lambda^m`` is near 0 so is the share.
    Each modality has a bias of its own, which ``lambda`` splits too.

    Where widths differ, the features are projected to the smallest of them before they are scored,
    each that is wider by a linear layer of its own. That is our reading; the logits are those of
    the features as they are.

    Args:
        widths: Modality to the width of its features.
        classes: Number of classes.
        hidden: Units of the scoring network; half the features' width in the paper.
    """

    def __init__(self, widths: Mapping[str, int], classes: int, *, hidden: int = 256) -> None:
        super().__init__(widths, classes)
        width = min(widths.values())
        self.score = nn.Sequential(linear(width, hidden), nn.Tanh(), linear(hidden, 1))
        self.heads = nn.ModuleDict({m: linear(wide, classes) for m, wide in widths.items()})
        self.projections = nn.ModuleDict(
            {m: linear(wide, width) for m, wide in widths.items() if wide > width}
        )

    def weights(self, features: Features) -> dict[str, Float[Tensor, "batch 1"]]:
        """``lambda``: in [0, 1], over the modalities summing to 1."""
        alike = [
            self.projections[m](features[m]) if m in self.projections else features[m]
            for m in self.modalities
        ]
        scores = torch.stack([self.score(feature) for feature in alike])
        return dict(zip(self.modalities, scores.softmax(0), strict=True))

    def split(self, features: Features) -> dict[str, Tensor]:
        """Each modality's own logits times its weight."""
        weights = self.weights(features)
        return {m: weights[m] * head(features[m]) for m, head in self.heads.items()}

    def matrix(self, modality: str) -> tuple[Tensor, slice]:
        """``V^m``."""
        return self.heads[modality].get_parameter("weight"), slice(None)
