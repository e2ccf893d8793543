"""Preparations: from a modality's tensor in a batch to the input of its encoder, on the device.

Each takes the tensor that the stream delivers (see `mmtrain.types.Batch`). Those of pictures and
spectrograms return (B, T, C, H, W) float32 about zero, so that one encoder serves them all; texts
and sequences pass as they are, and are all padding where they are hidden.
`mmtrain.modalities` has the table of which modality takes which.
"""

from collections.abc import Callable
from typing import ClassVar, Final

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from mmtrain.modalities import load, modality
from mmtrain.models.imagenet import IMAGENET_MEAN, IMAGENET_STD

# Smallest spread of a log spectrogram: that of silence is rounding, which must not become signal.
_STD_FLOOR: Final = 1e-3


class Preparation(nn.Module):
    """Base of the preparations: no parameters, nothing to save.

    Attributes:
        hidden: Value of every entry of a prepared sample that is hidden. Zero after normalisation
            is the mean of the data (OPM, TPAMI 2024, Sec. 4.4.3); for token ids it is the padding.
    """

    hidden: ClassVar[float | int] = 0

    def hide(self, prepared: Tensor, shown: Bool[Tensor, " batch"]) -> Tensor:
        """Returns ``prepared`` with the samples that do not show the modality set to `hidden`.

        Args:
            prepared: Prepared tensor of any rank and type, first dimension the batch. What it holds
                of hidden samples does not matter, NaN included.
            shown: True where a sample shows the modality.
        """
        # Chosen, not multiplied: 0 * NaN is NaN.
        return torch.where(shown.view(-1, *[1] * (prepared.ndim - 1)), prepared, self.hidden)


class Spectrogram(Preparation):
    """Each clip less its mean, over its standard deviation or 1e-3, whichever is larger.

    ``(S - mean(S)) / max(std(S), 1e-3)`` (VGGSound's loader, which adds 1e-9 instead). Silence
    becomes 0. A level that differs between clips is lost.
    """

    def forward(
        self, clip: Float[Tensor, "batch channels frequencies columns"]
    ) -> Float[Tensor, "batch 1 channels frequencies columns"]:
        """Returns the standardised spectrogram as a clip of one picture."""
        values = clip.float()
        std, mean = torch.std_mean(values, dim=(1, 2, 3), correction=0, keepdim=True)
        return ((values - mean) / std.clamp(min=_STD_FLOOR))[:, None]


class Frames(Preparation):
    """8-bit RGB to ``(x / 255 - mean) / std`` with ImageNet's mean and standard deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            # Scaled by 255 here, once, in place of dividing every pixel.
            scaled = torch.tensor(values).view(3, 1, 1) * 255
            self.register_buffer(name, scaled, persistent=False)

    def forward(
        self, frames: UInt8[Tensor, "batch time 3 height width"]
    ) -> Float[Tensor, "batch time 3 height width"]:
        """Returns the frames, normalised by channel."""
        return (_checked_bytes(frames).float() - self.mean) / self.std


class Planes(Preparation):
    """8 bits about 128 to ``(x - 128) / 127``: flow in shares of its bound, in [-1.01, 1]."""

    def forward(
        self, planes: UInt8[Tensor, "batch time planes height width"]
    ) -> Float[Tensor, "batch time planes height width"]:
        """Returns the planes, centred and scaled."""
        return (_checked_bytes(planes).float() - 128) / 127


class Tokens(Preparation):
    """Numbers of tokens as they are: token t of the tokenizer is t + 1, and 0 is padding."""

    def forward(self, tokens: Int[Tensor, "batch length"]) -> Int[Tensor, "batch length"]:
        """Returns the tokens."""
        return tokens


class Steps(Preparation):
    """Feature sequences as they are, the last channel 1 at real steps and 0 at padding."""

    def forward(
        self, steps: Float[Tensor, "batch steps channels"]
    ) -> Float[Tensor, "batch steps channels"]:
        """Returns the steps."""
        return steps


def _checked_bytes(values: Tensor) -> Tensor:
    if values.dtype != torch.uint8:
        raise TypeError(f"pictures and flow arrive as uint8, unscaled; got {values.dtype}")
    return values


def preparation(name: str) -> Preparation:
    """Makes the preparation of the modality called ``name``.

    Raises:
        UnknownName: No modality has that name.
    """
    make: Callable[..., Preparation] = load(modality(name).preparation)
    return make()
