"""TSN, temporal segment networks (Wang et al., ECCV 2016), on ResNet-18.

The consensus is the mean of features, not of class scores, so that a fusion sees one vector a
modality; under a linear classifier both are the same. Differs from the authors' code: the picture
of a segment is its middle one in training too, and dropout and partial batch normalisation are off
unless asked for.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mmtrain.errors import ConfigError
from mmtrain.models.encoders.resnet import ResNet18


def middles(pictures: int, segments: int) -> list[int]:
    """Number of the middle picture of each of ``segments`` equal parts: ``floor((k + 1/2) T/K)``.

    All pictures where there are no more than segments.
    """
    if pictures <= segments:
        return [*range(pictures)]
    return [(2 * k + 1) * pictures // (2 * segments) for k in range(segments)]


class TSN(ResNet18):
    """ResNet-18 on one picture from the middle of each of K equal segments, then their mean.

    ``phi = 1/K sum_k ResNet(x_{t_k})`` with ``t_k = floor((k + 1/2) T / K)``, from 0. Clips of at
    most K pictures are seen whole, so a spectrogram, which is one picture, is encoded as by
    `resnet18`.

    Args:
        channels: Number of channels of the input.
        weights: File with torchvision's ResNet-18 state dict; None starts from scratch.
        segments: ``K``; the authors train RGB with 3.
        dropout: Probability of dropping an entry of the mean feature; the authors' RGB has 0.8.
        partial_bn: Whether all batch normalisation but the first keeps the statistics and scales of
            ``weights``, as the authors' code does.
    """

    def __init__(
        self,
        channels: int,
        *,
        weights: str | Path | None = None,
        segments: int = 3,
        dropout: float = 0.0,
        partial_bn: bool = False,
    ) -> None:
        super().__init__(channels, weights=weights)
        if segments < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f"tsn's segments is 1 or more, its dropout in [0, 1); got {segments}, {dropout}"
            )
        if partial_bn and weights is None:
            raise ConfigError("tsn's partial_bn keeps the statistics of weights; set weights too")
        self.segments = segments
        self.dropout = nn.Dropout(dropout)
        norms = [m for m in self.modules() if isinstance(m, nn.BatchNorm2d)]
        self._frozen = norms[1:] if partial_bn else []
        for norm in self._frozen:
            norm.requires_grad_(False)

    @classmethod
    def without_files(cls, settings: Mapping[str, object]) -> dict[str, object]:
        """Settings of the same network without its file of weights, for others that come later."""
        # Which statistics are kept matters to training alone.
        return {**super().without_files(settings), "partial_bn": False}

    def train(self, mode: bool = True) -> "TSN":
        """Sets the mode; frozen batch normalisation stays in that of evaluation."""
        super().train(mode)
        for norm in self._frozen:
            norm.eval()
        return self

    def begin(self, inputs: Tensor) -> Tensor:
        """Maps of the pictures in the middle of each segment."""
        chosen = middles(inputs.shape[1], self.segments)
        if len(chosen) < inputs.shape[1]:
            # No index on the device: the CPU would wait for its copy.
            inputs = torch.stack([inputs[:, i] for i in chosen], 1)
        return super().begin(inputs)

    def finish(self, maps: Tensor) -> Tensor:
        """The mean over area and segments, with dropout."""
        feature: Tensor = self.dropout(super().finish(maps))
        return feature
