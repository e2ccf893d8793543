"""Cosine logits (MMCosine, Xu et al., ICASSP 2023)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmtrain.functional.similarity import unit
from mmtrain.models.fusions.base import Features, Fusion


class Cosine(Fusion):
    """The sum over modalities of the cosines between features and class weights.

    ``f_c = s sum_m cos(phi^m, W_c^m)``, without biases, in ``[-s M, s M]``. Neither the length of a
    feature nor that of a weight matters; a feature of zeros has logits of 0.

    Share: ``u_c^m = s cos(phi^m, W_c^m)``. Exact: the shares sum to ``f``.

    Args:
        widths: Modality to the width of its encoder.
        classes: Number of classes.
        scale: ``s``, above 0.
    """

    def __init__(self, widths: Mapping[str, int], classes: int, *, scale: float = 10.0) -> None:
        super().__init__(widths, classes)
        self.scale = scale
        self.weights = nn.ParameterDict(
            {
                m: nn.Parameter(nn.init.xavier_normal_(torch.empty(classes, width)))
                for m, width in widths.items()
            }
        )

    def split(self, features: Features) -> dict[str, Tensor]:
        """Each modality's scaled cosines."""
        # A ParameterDict sorts its names.
        return {m: self.scale * unit(features[m]) @ unit(self.weights[m]).T for m in self.widths}
