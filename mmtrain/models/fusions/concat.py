"""Concatenation, the baseline of every paper (OGM, Wei et al., TPAMI 2024, Sec. 3.1)."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from mmtrain.models.fusions.base import Features, Fusion
from mmtrain.models.layers import linear


class Concat(Fusion):
    """One linear layer on the features side by side.

    ``f = [phi^1; ...; phi^M] W^T + b`` with ``W = [W^1 ... W^M]``.

    Share: ``u^m = phi^m (W^m)^T + b / M`` (OGM, TPAMI 2024, Eq. 6; AMSS, Sec. III-B). Exact: the
    shares sum to ``f``, which is computed as their sum.

    Attributes:
        columns: Modality to its columns of ``head.weight``, and of that weight's gradient.
    """

    def __init__(self, widths: Mapping[str, int], classes: int) -> None:
        super().__init__(widths, classes)
        self.head = linear(sum(widths.values()), classes)
        ends = [sum(list(widths.values())[: i + 1]) for i in range(len(widths))]
        self.columns = {
            m: slice(end - width, end) for (m, width), end in zip(widths.items(), ends, strict=True)
        }

    def split(self, features: Features) -> dict[str, Tensor]:
        """The logits of each modality's columns, with an even share of the bias."""
        share = self.head.bias / len(self.columns)
        return {
            m: F.linear(features[m], self.head.weight[:, columns], share)
            for m, columns in self.columns.items()
        }

    def matrix(self, modality: str) -> tuple[Tensor, slice]:
        """``W^m``."""
        return self.head.weight, self.columns[modality]
