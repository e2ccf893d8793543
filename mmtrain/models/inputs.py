"""What a modality's tensor becomes, on the device, before its encoder sees it.

This is the one place that knows modalities by name. Each preparation takes what the stream delivers
(see `mmtrain.types.Batch`) and gives (B, T, C, H, W) float32 about zero, so that encoders need not
know what they look at.
"""

from collections.abc import Callable, Mapping
from typing import Final

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from mmtrain.errors import UnknownName

# Of a log spectrogram. Silence has no spread but rounding, which must not become the signal.
_STD_FLOOR: Final = 1e-3
_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)


class Spectrogram(nn.Module):
    """Each clip less its mean, over its standard deviation or 1e-3, whichever is larger.

    ``(S - mean(S)) / max(std(S), 1e-3)`` (VGGSound's loader, which adds 1e-9 instead). Silence
    becomes 0. A level that differs between clips is lost.
    """

    def forward(
        self, clip: Float[Tensor, "batch channels frequencies columns"]
    ) -> Float[Tensor, "batch 1 channels frequencies columns"]:
        """Standardised, as one picture a clip."""
        values = clip.float()
        std, mean = torch.std_mean(values, dim=(1, 2, 3), correction=0, keepdim=True)
        return ((values - mean) / std.clamp(min=_STD_FLOOR))[:, None]


class Frames(nn.Module):
    """8-bit RGB to ``(x / 255 - mean) / std`` with ImageNet's mean and standard deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in (("mean", _IMAGENET_MEAN), ("std", _IMAGENET_STD)):
            shaped = torch.tensor(values).view(3, 1, 1) * 255
            self.register_buffer(name, shaped, persistent=False)

    def forward(
        self, frames: UInt8[Tensor, "batch time 3 height width"]
    ) -> Float[Tensor, "batch time 3 height width"]:
        """Normalised by channel."""
        return (_bytes(frames).float() - self.mean) / self.std


class Planes(nn.Module):
    """8 bits about 128 to ``(x - 128) / 127``: flow in shares of its bound, in [-1.01, 1]."""

    def forward(
        self, planes: UInt8[Tensor, "batch time planes height width"]
    ) -> Float[Tensor, "batch time planes height width"]:
        """Centred and scaled."""
        return (_bytes(planes).float() - 128) / 127


def _bytes(values: Tensor) -> Tensor:
    if values.dtype != torch.uint8:
        raise TypeError(f"pictures and flow arrive as uint8, unscaled; got {values.dtype}")
    return values


PREPARATIONS: Final[Mapping[str, Callable[[], nn.Module]]] = {
    "audio": Spectrogram,
    "visual": Frames,
    "flow": Planes,
    "difference": Planes,
    "depth": Planes,
}


def preparation(modality: str) -> nn.Module:
    """The preparation of ``modality``; it has no parameters and nothing to save.

    Raises:
        UnknownName: There is no such modality.
    """
    if modality not in PREPARATIONS:
        raise UnknownName("modality", modality, PREPARATIONS)
    return PREPARATIONS[modality]()
