"""One classifier that all modalities share (MLA, Zhang et al., CVPR 2024, Sec. 3.1)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mmtrain.models.fusions.base import Features, Fusion, common_width
from mmtrain.models.layers import linear


class Shared(Fusion):
    """One linear layer, which takes the features of each modality by itself.

    ``u^m = W phi^m + c``, the modality's logits, and ``f = 1/M sum_m u^m``. A method that weighs
    the modalities otherwise takes `Outputs.logits` instead of the fused.

    Args:
        widths: Modality to the width of its encoder; all the same.
        classes: Number of classes.

    Raises:
        ConfigError: Encoders differ in width.
    """

    additive = False

    def __init__(self, widths: Mapping[str, int], classes: int) -> None:
        super().__init__(widths, classes)
        self.head = linear(common_width("one classifier", widths), classes)

    def forward(self, features: Features) -> Tensor:
        """Mean of the modalities' logits."""
        return torch.stack([*self.split(features).values()]).mean(0)

    def split(self, features: Features) -> dict[str, Tensor]:
        """Each modality's logits, whole: they sum to M times the fused."""
        return {m: self.head(features[m]) for m in self.widths}
