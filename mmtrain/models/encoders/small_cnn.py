"""A small encoder for tiny inputs and for the CPU; of no paper."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from mmtrain.errors import ConfigError
from mmtrain.models.encoders.base import Pictures

_GROUPS: Final = 8


class SmallCNN(Pictures):
    """Four 3 x 3 convolutions of stride 2, each with group normalisation and ReLU, then the mean.

    ``width / 8, width / 4, width / 2, width`` channels in 8 groups. Pictures of more than
    ``area`` pixels, such as spectrograms, are first averaged over 2 x 2 until they have fewer. It
    normalises by group and not by batch, so a sample's feature does not depend on the rest of the
    batch: ranks that share a batch agree with one that has all of it. 98 thousand parameters
    at the default width.

    Args:
        channels: Number of channels of the input.
        width: Entries of a feature vector; a multiple of 64.
        area: Pixels of the largest picture that is processed at its full size.
    """

    def __init__(self, channels: int, *, width: int = 128, area: int = 16_384) -> None:
        super().__init__()
        if width < 64 or width % 64:
            raise ConfigError(f"small-cnn's width is a multiple of 64; got {width}")
        if area < 1:
            raise ConfigError(f"small-cnn's area is 1 pixel or more; got {area}")
        self.width, self.area = width, area
        self.stage_widths = (width // 8, width // 4, width // 2, width)
        self.body = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
                    nn.GroupNorm(_GROUPS, outputs),
                    nn.ReLU(inplace=True),
                )
                for inputs, outputs in pairwise((channels, *self.stage_widths))
            )
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stem(self, pictures: Tensor) -> Tensor:
        """The pictures, averaged over 2 x 2 until they have at most ``area`` pixels."""
        while pictures.shape[-2] * pictures.shape[-1] > self.area:
            pictures = avg_pool2d(pictures, 2)
        return pictures

    def blocks(self) -> Sequence[nn.Module]:
        """The four convolutions, each with its normalisation and ReLU."""
        return [*self.body]
