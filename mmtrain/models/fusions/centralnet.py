"""CentralNet (Vielzeuf et al., ECCV Workshops 2018).

Our reading, for maps of a spectrogram and of pictures have different sizes and the OGM paper does
not say how they are added: the central stream works on pooled maps, and its operator is a linear
layer. Encoders are not changed by it, so each can run alone.

The paper's loss has a term for each modality besides the central one. It is not part of a fusion:
choose the method ``multitask`` for it, and know that the terms help by themselves.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.models.fusions.base import Features
from mmtrain.models.fusions.levels import LevelFusion
from mmtrain.models.layers import linear


class CentralNet(LevelFusion):
    """A central stream takes up every stage of every encoder, with learnt scalar weights.

    ``h^l = relu(C_l(alpha_0^l h^{l-1}) + sum_m alpha_m^l P_l^m s_l^m)`` from ``h^0 = 0``;
    ``f = W h^L + b``. ``s_l^m`` are the pooled maps behind one of the encoder's last stages, and
    the feature vector at the last level; ``C_l`` and ``P_l^m`` are linear layers to ``hidden``. The
    scalars start at ``1 / (M + 1)``. The first level has no ``C_l``, as ``h^0`` is 0.

    Share, not exact: ``u^m`` is the logits of ``phi^m`` when the features of all others are 0, less
    ``(1 - 1/M)`` of the logits of no input.

    Args:
        widths: Modality to the width of its encoder, with the channels of its stages.
        classes: Number of classes.
        hidden: Width of the central stream.
        levels: Number of the encoders' last stages that are taken up.
    """

    def __init__(
        self, widths: Mapping[str, int], classes: int, *, hidden: int = 512, levels: int = 4
    ) -> None:
        super().__init__("centralnet", widths, classes, hidden, levels)
        self.operators = nn.ModuleList(linear(hidden, hidden) for _ in range(levels - 1))
        share = 1 / (len(widths) + 1)
        self.alpha = nn.Parameter(torch.full((levels, len(widths)), share))
        self.alpha_central = nn.Parameter(torch.full((levels - 1,), share))
        self.head = linear(hidden, classes)

    def forward(self, features: Features) -> Tensor:
        """Fused logits."""
        first, *others = self.mixed(features)
        central = first.relu()
        for operator, scalar, level in zip(self.operators, self.alpha_central, others, strict=True):
            central = (operator(scalar * central) + level).relu()
        logits: Tensor = self.head(central)
        return logits

    def mixed(self, features: Features) -> list[Float[Tensor, "batch hidden"]]:
        """``sum_m alpha_m^l P_l^m s_l^m`` of each level."""
        levels = zip(*self.projected(features).values(), strict=True)
        return [
            (torch.stack(vectors, dim=-1) * alpha).sum(-1)
            for vectors, alpha in zip(levels, self.alpha, strict=True)
        ]
