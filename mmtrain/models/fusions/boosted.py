"""A sum of classifiers that can be extended by further ones."""

from collections.abc import Mapping
from functools import reduce
from typing import Final, cast

import torch
from torch import Tensor, nn

from mmtrain.models.fusions.base import Features, Fusion
from mmtrain.models.layers import linear, seeded

HIDDEN: Final = 256


class Boosted(Fusion):
    """Classifiers of each modality: first layers of their own, and one head that all share.

    ``z_j^m = W relu(A_j^m phi^m + b_j^m) + c``; a modality's own logits are
    ``Z^m = z_1^m + ... + z_n^m``, the fused ones ``sum_m w_m Z^m``. So the logits of the modalities
    do not sum to the fused ones unless all weights are 1.

    Args:
        widths: Modality to the width of its features.
        classes: Number of classes.
        weights: Modality to ``w_m``.
        seed: Seed of the first layers, together with their modality and number.
    """

    additive = False

    def __init__(
        self, widths: Mapping[str, int], classes: int, weights: Mapping[str, float], seed: int
    ) -> None:
        super().__init__(widths, classes)
        self.layers = nn.ModuleDict({m: nn.ModuleList() for m in widths})
        self._weights, self._seed = dict(weights), seed
        with seeded(seed, "boosted"):
            self.head = linear(HIDDEN, classes)

    def grow(self, modality: str) -> nn.Linear:
        """Adds a classifier of ``modality`` and returns its first layer, on the model's device."""
        layers = cast(nn.ModuleList, self.layers[modality])
        with seeded(self._seed, "boosted", modality, str(len(layers))):
            layer = linear(self.widths[modality], HIDDEN).to(self.head.weight.device)
        layers.append(layer)
        return layer

    def classifier_logits(self, modality: str, feature: Tensor) -> list[Tensor]:
        """Logits of each classifier of ``modality``, in the order in which they came; float32."""
        layers = cast(nn.ModuleList, self.layers[modality])
        with torch.autocast(feature.device.type, enabled=False):
            return [self.head(layer(feature).relu()) for layer in layers]

    def forward(self, features: Features) -> Tensor:
        """Weighted sum of the modalities' logits."""
        logits = self.split(features)
        return reduce(torch.add, [weight * logits[m] for m, weight in self._weights.items()])

    def split(self, features: Features) -> dict[str, Tensor]:
        """Sum of each modality's classifiers, without its weight."""
        return {m: reduce(torch.add, self.classifier_logits(m, features[m])) for m in self._weights}
