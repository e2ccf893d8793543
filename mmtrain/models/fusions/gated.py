"""Gated fusion (Kiela et al., AAAI 2018).

BML's default gate is the second modality; here it is the first, as in OGM's code. For more than two
modalities there is no source: one gate serves all others, and the head sees all of them.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmtrain.models.fusions.base import Features, Fusion, leader, zero_out
from mmtrain.models.layers import linear


class Gated(Fusion):
    """One modality, the gate k, opens and closes the features of the others.

    ``g = sigmoid(phi^k U^T + c_k)``, ``h^m = g * (phi^m (V^m)^T + c^m)`` for ``m != k``,
    ``f = [h^m, ...] W^T + b``.

    Share, not exact: ``u^m`` is the logits of ``phi^m`` when the features of all others are 0,
    less ``(1 - 1/M)`` of the logits of no input, ``f(0) = [sigmoid(c_k) * c^m, ...] W^T + b``. So
    a gated modality's share is what passes the gate's resting position ``sigmoid(c_k)``, one half
    at the start, plus ``f(0)/M``. The gate's share passes the biases ``c^m`` only: it is the same
    for every sample until they are learnt, and remains small. Whoever compares shares should know
    that by this measure a gate is always behind. Shares sum to ``f`` less the interaction
    ``((g - sigmoid(c_k)) * (phi^m (V^m)^T)) (W^m)^T``, summed over ``m``.

    Args:
        widths: Modality to the width of its features; two or more.
        classes: Number of classes.
        gate: Modality that gates; None is the first.
        hidden: Width to which all are projected.
    """

    additive = False

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        gate: str | None = None,
        hidden: int = 512,
    ) -> None:
        super().__init__(widths, classes)
        self.gate = leader("gated", "gate", gate, widths)
        self.projections = nn.ModuleDict({m: linear(width, hidden) for m, width in widths.items()})
        self.head = linear(hidden * (len(widths) - 1), classes)

    def forward(self, features: Features) -> Tensor:
        """Fused logits."""
        projected = {m: layer(features[m]) for m, layer in self.projections.items()}
        gate = projected.pop(self.gate).sigmoid()
        logits: Tensor = self.head(torch.cat([gate * y for y in projected.values()], dim=-1))
        return logits

    def split(self, features: Features) -> dict[str, Tensor]:
        """Each modality's share by zeroing the others; see the class."""
        return zero_out(self.forward, features)
