"""Summation of logits, "late" fusion (OGM, Wei et al., TPAMI 2024, Table 2)."""

from collections.abc import Mapping

from torch import Tensor, nn

from mmtrain.models.fusions.base import Features, Fusion
from mmtrain.models.layers import linear


class Sum(Fusion):
    """The sum of each modality's own logits.

    ``f = sum_m (phi^m (V^m)^T + c^m)``. LFM's code takes the mean instead, which is this at another
    temperature; other papers average probabilities, which is another loss.

    Share: ``u^m = phi^m (V^m)^T + c^m``, the modality's own logits. Exact. The biases start equal
    and get equal gradients from ``f``, so an even split of their sum is the same; a method that
    trains a share by itself may move them apart.
    """

    def __init__(self, widths: Mapping[str, int], classes: int) -> None:
        super().__init__(widths, classes)
        self.heads = nn.ModuleDict({m: linear(width, classes) for m, width in widths.items()})

    def split(self, features: Features) -> dict[str, Tensor]:
        """Each modality's own logits."""
        return {m: head(features[m]) for m, head in self.heads.items()}

    def matrix(self, modality: str) -> tuple[Tensor, slice]:
        """``V^m``."""
        return self.heads[modality].get_parameter("weight"), slice(None)
