"""Fusions that read several stages of every encoder, each projected to one width."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.models.encoders.base import Encoder
from mmtrain.models.fusions.base import Features, Fusion, zero_out
from mmtrain.models.fusions.stages import level_widths, levels_of
from mmtrain.models.layers import linear


class LevelFusion(Fusion):
    """Base of these fusions; a subclass adds its layers and gives `forward`.

    The features are ``[s_1^m; ...; s_L^m]``, the pooled maps behind the encoder's last stages and
    the feature vector at the last level, so dropping a modality drops it at every level.

    Args:
        kind: Name of the fusion, for messages.
        widths: Modality to the width of its encoder, with the channels of its stages.
        classes: Number of classes.
        hidden: Width to which all are projected.
        levels: Number of the encoders' last stages that are read; 1 is the feature vector alone.
    """

    additive = False

    def __init__(
        self, kind: str, widths: Mapping[str, int], classes: int, hidden: int, levels: int
    ) -> None:
        super().__init__(widths, classes)
        self.levels = levels
        self.parts = level_widths(kind, widths, levels)
        self.feature_widths = {m: sum(parts) for m, parts in self.parts.items()}
        self.projections = nn.ModuleDict(
            {m: nn.ModuleList(linear(w, hidden) for w in parts) for m, parts in self.parts.items()}
        )

    def encode(
        self, encoders: Mapping[str, Encoder], prepared: Mapping[str, Tensor]
    ) -> dict[str, Float[Tensor, "batch _"]]:
        """Pooled vectors of the last stages side by side."""
        return {m: levels_of(encoder, prepared[m], self.levels) for m, encoder in encoders.items()}

    def split(self, features: Features) -> dict[str, Tensor]:
        """Each modality's share by zeroing the others; see the class."""
        return zero_out(self.forward, features)

    def projected(self, features: Features) -> dict[str, list[Float[Tensor, "batch hidden"]]]:
        """``P_l^m s_l^m``: modality to its projected vector of each level."""
        return {
            m: [
                projection(vector)
                for projection, vector in zip(
                    projections.children(),
                    torch.split(features[m], [*self.parts[m]], dim=-1),
                    strict=True,
                )
            ]
            for m, projections in self.projections.items()
        }
