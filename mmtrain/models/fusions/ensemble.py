"""Fusions of one modality each, side by side."""

from collections.abc import Mapping
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.models.encoders.base import Encoder
from mmtrain.models.fusions.base import Features, Fusion


class Ensemble(Fusion):
    """The sum of the logits of models that have one modality each and share nothing.

    ``f = sum_m u^m``. Share: ``u^m``, exact.

    Args:
        parts: Modality to the fusion of its own model.
    """

    def __init__(self, parts: Mapping[str, Fusion]) -> None:
        (classes,) = {part.classes for part in parts.values()}
        super().__init__({m: part.widths[m] for m, part in parts.items()}, classes)
        self.parts = nn.ModuleDict(parts)
        self.feature_widths = {m: part.feature_widths[m] for m, part in parts.items()}

    def encode(
        self, encoders: Mapping[str, Encoder], prepared: Mapping[str, Tensor]
    ) -> dict[str, Float[Tensor, "batch _"]]:
        """Modality to its features, each as its own fusion takes them."""
        return {
            m: cast(Fusion, self.parts[m]).encode({m: encoder}, {m: prepared[m]})[m]
            for m, encoder in encoders.items()
        }

    def split(self, features: Features) -> dict[str, Tensor]:
        """Each modality's own logits."""
        return {m: part({m: features[m]}) for m, part in self.parts.items()}
