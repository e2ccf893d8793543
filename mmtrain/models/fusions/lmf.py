"""LMF, low-rank multimodal fusion (Liu et al., ACL 2018), an option of BML's code.

Our reading: the product gives the logits themselves, as in the paper's own classifier. The weight
of each constant 1 starts at 1 and not at random, so that at the start the logits are a sum of the
modalities plus their products, and no factor near 0 silences the others.
"""

from collections.abc import Mapping
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.models.fusions.base import Features, Fusion, zero_out
from mmtrain.models.layers import linear


class LMF(Fusion):
    """All products of the modalities' features, through factors of low rank.

    ``f = sum_r prod_m (W_r^m [phi^m; 1]) + b``: the contraction of the outer product of all
    ``[phi^m; 1]`` with a weight tensor that is a sum of ``rank`` products of matrices.

    Share, not exact: ``u^m`` is the logits of ``phi^m`` when the features of all others are 0, less
    ``(1 - 1/M)`` of the logits of no input; of the other factors their constants ``W_r^j [0; 1]``
    remain. Shares sum to ``f`` less the products of features of two or more modalities.

    Args:
        widths: Modality to the width of its features.
        classes: Number of classes.
        rank: Number of products that are summed.
    """

    additive = False

    def __init__(self, widths: Mapping[str, int], classes: int, *, rank: int = 4) -> None:
        super().__init__(widths, classes)
        self.rank = rank
        self.factors = nn.ModuleDict({m: linear(w, rank * classes) for m, w in widths.items()})
        for factor in self.factors.values():
            nn.init.ones_(factor.get_parameter("bias"))
        self.bias = nn.Parameter(torch.zeros(classes))

    def products(self, features: Features) -> Float[Tensor, "batch rank classes"]:
        """``prod_m (W_r^m [phi^m; 1])``."""
        factors = [factor(features[m]) for m, factor in self.factors.items()]
        product: Tensor = reduce(torch.mul, factors)
        return product.view(-1, self.rank, self.classes)

    def forward(self, features: Features) -> Tensor:
        """Fused logits."""
        return self.products(features).sum(1) + self.bias

    def split(self, features: Features) -> dict[str, Tensor]:
        """Each modality's share by zeroing the others; see the class."""
        return zero_out(self.forward, features)
