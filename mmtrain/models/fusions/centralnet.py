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

from mmtrain.models.encoders.base import Encoder
from mmtrain.models.fusions.base import Features, Fusion, zero_out
from mmtrain.models.fusions.stages import level_widths, levels_of
from mmtrain.models.layers import linear


class CentralNet(Fusion):
    """A central stream takes up every stage of every encoder, with learnt scalar weights.

    ``h^l = relu(C_l(alpha_0^l h^{l-1}) + sum_m alpha_m^l P_l^m s_l^m)`` from ``h^0 = 0``;
    ``f = W h^L + b``. ``s_l^m`` are the pooled maps behind one of the encoder's last stages, and
    the feature vector at the last level; ``C_l`` and ``P_l^m`` are linear layers to ``hidden``. The
    scalars start at ``1 / (M + 1)``. The first level has no ``C_l``, as ``h^0`` is 0.

    The features are ``[s_1^m; ...; s_L^m]``, so dropping a modality drops it at every level.

    Share, not exact: ``u^m`` is the logits of ``phi^m`` when the features of all others are 0, less
    ``(1 - 1/M)`` of the logits of no input.

    Args:
        widths: Modality to the width of its encoder, with the channels of its stages.
        classes: Number of classes.
        hidden: Width of the central stream.
        levels: Number of the encoders' last stages that are taken up.
    """

    additive = False

    def __init__(
        self, widths: Mapping[str, int], classes: int, *, hidden: int = 512, levels: int = 4
    ) -> None:
        super().__init__(widths, classes)
        self.parts = level_widths("centralnet", widths, levels)
        self.feature_widths = {m: sum(parts) for m, parts in self.parts.items()}
        self.projections = nn.ModuleDict(
            {m: nn.ModuleList(linear(w, hidden) for w in parts) for m, parts in self.parts.items()}
        )
        self.operators = nn.ModuleList(linear(hidden, hidden) for _ in range(levels - 1))
        share = 1 / (len(widths) + 1)
        self.alpha = nn.Parameter(torch.full((levels, len(widths)), share))
        self.alpha_central = nn.Parameter(torch.full((levels - 1,), share))
        self.head = linear(hidden, classes)

    def encode(
        self, encoders: Mapping[str, Encoder], prepared: Mapping[str, Tensor]
    ) -> dict[str, Float[Tensor, "batch _"]]:
        """Pooled vectors of the last stages side by side."""
        levels = len(self.alpha)
        return {m: levels_of(encoder, prepared[m], levels) for m, encoder in encoders.items()}

    def forward(self, features: Features) -> Tensor:
        """Fused logits."""
        central = self._mixed(features, 0).relu()
        for level, operator in enumerate(self.operators, 1):
            before = operator(self.alpha_central[level - 1] * central)
            central = (before + self._mixed(features, level)).relu()
        logits: Tensor = self.head(central)
        return logits

    def split(self, features: Features) -> dict[str, Tensor]:
        """Each modality's share by zeroing the others; see the class."""
        return zero_out(self.forward, features)

    def _mixed(self, features: Features, level: int) -> Float[Tensor, "batch hidden"]:
        """``sum_m alpha_m^l P_l^m s_l^m``."""
        projected = []
        for modality, projections in self.projections.items():
            vector = torch.split(features[modality], [*self.parts[modality]], dim=-1)[level]
            projected.append([*projections.children()][level](vector))
        return (torch.stack(projected, dim=-1) * self.alpha[level]).sum(-1)
