"""FiLM, "Affine" in the tables of AUG and LFM (Perez et al., AAAI 2018).

Differs from OGM's code, whose scale starts about 0: here the bias of the scale starts at 1, as in
the paper (``1 + delta``). From 0 the modulated modality would be cut off when training starts, and
its share of the logits would be the same for every sample. For more than two modalities there is no
source: each but the conditioner is modulated, and the head sees all that are.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmtrain.models.fusions.base import Features, Fusion, leader, zero_out
from mmtrain.models.layers import linear


class Film(Fusion):
    """One modality, the conditioner k, scales and shifts the features of the others.

    ``(gamma^m, beta^m) = phi^k (A^m)^T + c^m``, ``h^m = gamma^m * phi^m + beta^m`` for ``m != k``,
    ``f = [h^m, ...] W^T + b``. With two modalities this is the form of OGM's Table 2.

    Share, not exact: ``u^m`` is the logits of ``phi^m`` when the features of all others are 0,
    less ``(1 - 1/M)`` of the logits of no input, ``f(0) = [c_beta, ...] W^T + b``. So the share of
    the conditioner is ``[phi^k A_beta^T, ...] W^T + f(0)/M``, the shift without the scale, and that
    of a modulated modality is ``(c_gamma * phi^m) (W^m)^T + f(0)/M``, scaled by the bias of gamma
    alone. Shares sum to ``f`` less ``((phi^k A_gamma^T) * phi^m) (W^m)^T``, the interaction, summed
    over ``m``.

    Args:
        widths: Modality to the width of its features; two or more.
        classes: Number of classes.
        conditioner: Modality that modulates; None is the first.
    """

    additive = False

    def __init__(
        self, widths: Mapping[str, int], classes: int, *, conditioner: str | None = None
    ) -> None:
        super().__init__(widths, classes)
        self.conditioner = leader("film", "conditioner", conditioner, widths)
        others = {m: width for m, width in widths.items() if m != self.conditioner}
        modulators = {m: linear(widths[self.conditioner], 2 * d) for m, d in others.items()}
        for m, modulator in modulators.items():
            nn.init.ones_(modulator.bias[: widths[m]])
        self.modulators = nn.ModuleDict(modulators)
        self.head = linear(sum(others.values()), classes)

    def forward(self, features: Features) -> Tensor:
        """Fused logits."""
        condition = features[self.conditioner]
        modulated = []
        for m, modulator in self.modulators.items():
            gamma, beta = modulator(condition).chunk(2, dim=-1)
            modulated.append(gamma * features[m] + beta)
        logits: Tensor = self.head(torch.cat(modulated, dim=-1))
        return logits

    def split(self, features: Features) -> dict[str, Tensor]:
        """Each modality's share by zeroing the others; see the class."""
        return zero_out(self.forward, features)
