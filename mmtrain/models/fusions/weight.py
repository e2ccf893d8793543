"""Weighting of the modalities' decisions (CMML, Yang et al., IJCAI 2019).

Differs from OMML's code, where the weights of the two modalities are exchanged, and from AMSS's,
whose gate is by feature. Weights are put on logits, the reading of "decision level".
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.errors import ConfigError
from mmtrain.models.fusions.base import Features, Fusion
from mmtrain.models.layers import linear


class Weight(Fusion):
    """Each modality's own logits, weighted for every sample by a score of its features.

    ``a^m = w . tanh(phi^m W^T + c) + c'`` with one network for all modalities,
    ``lambda = softmax over m of a``, ``f = sum_m lambda^m (phi^m (V^m)^T + c^m)``.

    Share: ``u^m = lambda^m (phi^m (V^m)^T + c^m)``. Exact: the shares sum to ``f``. A share depends
    on the other modalities through ``lambda``, and where ``lambda^m`` is near 0 so is the share.
    Each modality has a bias of its own, which is split as ``lambda`` splits everything.

    Args:
        widths: Modality to the width of its features; all the same.
        classes: Number of classes.
        hidden: Units of the scoring network; half the features' width in the paper.
    """

    def __init__(self, widths: Mapping[str, int], classes: int, *, hidden: int = 256) -> None:
        super().__init__(widths, classes)
        if len(set(widths.values())) > 1:
            raise ConfigError(
                "weight scores all modalities with one network, so their features must be equally "
                f"wide; got {', '.join(f'{m} {width}' for m, width in widths.items())}"
            )
        width = next(iter(widths.values()))
        self.score = nn.Sequential(linear(width, hidden), nn.Tanh(), linear(hidden, 1))
        self.heads = nn.ModuleDict({m: linear(width, classes) for m, width in widths.items()})

    def weights(self, features: Features) -> dict[str, Float[Tensor, "batch 1"]]:
        """``lambda``: in [0, 1], over the modalities summing to 1."""
        scores = torch.stack([self.score(features[m]) for m in self.modalities])
        return dict(zip(self.modalities, scores.softmax(0), strict=True))

    def split(self, features: Features) -> dict[str, Tensor]:
        """Each modality's own logits times its weight."""
        weights = self.weights(features)
        return {m: weights[m] * head(features[m]) for m, head in self.heads.items()}

    def matrix(self, modality: str) -> tuple[Tensor, slice]:
        """``V^m``."""
        return self.heads[modality].get_parameter("weight"), slice(None)
