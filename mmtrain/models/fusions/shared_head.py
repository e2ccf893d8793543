"""A sum of the logits that one head gives for each modality."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from mmtrain.models.fusions.base import Features, Fusion, common_width
from mmtrain.models.layers import linear

_HIDDEN: Final = 256


class SharedHead(Fusion):
    """One head for all modalities, whose logits are added up and scaled by a learnt number.

    ``z^m = W_2 relu(W_1 phi^m + b_1) + b_2``; ``f = beta sum_m z^m``. Share: ``beta z^m``, exact.

    Args:
        widths: Modality to the width of its features, all equal.
        classes: Number of classes.
        scale: ``beta`` at the start.
    """

    def __init__(self, widths: Mapping[str, int], classes: int, scale: float = 1.0) -> None:
        super().__init__(widths, classes)
        width = common_width("one head", widths)
        self.head = nn.Sequential(linear(width, _HIDDEN), nn.ReLU(), linear(_HIDDEN, classes))
        self.scale = nn.Parameter(torch.tensor(scale))

    def own_logits(self, feature: Tensor) -> Tensor:
        """``z`` of the features of any modality, float32."""
        with torch.autocast(feature.device.type, enabled=False):
            logits: Tensor = self.head(feature)
        return logits

    def split(self, features: Features) -> dict[str, Tensor]:
        """The scaled logits of each modality."""
        return {m: self.scale * self.own_logits(features[m]) for m in self.widths}
