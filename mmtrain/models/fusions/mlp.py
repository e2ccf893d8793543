"""Multi-layer classifier on the features side by side (OGM, Wei et al., TPAMI 2024, Table 10).

The paper gives no width of the hidden layer; 512 is our reading. Any number of modalities.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmtrain.models.fusions.base import Features, Fusion, zero_out
from mmtrain.models.layers import linear


class MLP(Fusion):
    """Two linear layers with ReLU between them on the features side by side.

    ``f = W_2 relu(W_1 [phi^1; ...; phi^M] + b_1) + b_2``.

    Share, not exact: ``u^m`` is the logits of ``phi^m`` when the features of all others are 0, less
    ``(1 - 1/M)`` of the logits of no input, ``f(0) = W_2 relu(b_1) + b_2``. The ReLU lets
    modalities interact, so that shares do not sum to ``f``.

    Args:
        widths: Modality to the width of its features.
        classes: Number of classes.
        hidden: Units of the hidden layer.
    """

    additive = False

    def __init__(self, widths: Mapping[str, int], classes: int, *, hidden: int = 512) -> None:
        super().__init__(widths, classes)
        self.hidden = linear(sum(widths.values()), hidden)
        self.head = linear(hidden, classes)

    def forward(self, features: Features) -> Tensor:
        """Fused logits."""
        joined = torch.cat([features[m] for m in self.modalities], dim=-1)
        logits: Tensor = self.head(nn.functional.relu(self.hidden(joined)))
        return logits

    def split(self, features: Features) -> dict[str, Tensor]:
        """Each modality's share by zeroing the others; see the class."""
        return zero_out(self.forward, features)
