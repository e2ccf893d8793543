"""TSM, temporal shift (Lin et al., ICCV 2019), on ResNet-18, in every residual branch.

A clip of one picture, such as a spectrogram, is not shifted: it has no neighbours, and zeros in
their place would only delete channels. The consensus is the mean of features over time.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.models import resnet  # type: ignore[import-untyped]  # ships no types

from mmtrain.errors import ConfigError
from mmtrain.models.encoders.base import Stage, each_picture
from mmtrain.models.encoders.resnet import ResNet18


def shift(
    maps: Float[Tensor, "batch time channels *area"], part: int
) -> Float[Tensor, "batch time channels *area"]:
    """Maps whose first channels come from the next picture and whose second from the one before.

    ``y_t = [x_{t+1}[: n], x_{t-1}[n : 2n], x_t[2n :]]`` with ``n = C // part`` of C
    channels; 0 beyond the ends.
    """
    count = maps.shape[2] // part
    area = [0] * (2 * (maps.ndim - 2))  # channels, height and width are not padded
    after = pad(maps[:, 1:, :count], [*area, 0, 1])
    before = pad(maps[:, :-1, count : 2 * count], [*area, 1, 0])
    return torch.cat([after, before, maps[:, :, 2 * count :]], dim=2)


class TSM(ResNet18):
    """ResNet-18 whose residual branches see a share of channels of the neighbouring pictures.

    Before the first convolution of each block ``y_t = [x_{t+1}[: n], x_{t-1}[n : 2n], x_t[2n :]]``
    with ``n = C / part`` of its C channels, 0 beyond the ends; the shortcut takes ``x_t``. It adds
    no parameters and no multiplications. The order of pictures matters.

    Args:
        channels: Number of channels of the input.
        weights: File with torchvision's ResNet-18 state dict; None starts from scratch.
        part: One channel in so many is shifted forward, and as many backward; 2 or more.
    """

    def __init__(self, channels: int, *, weights: str | Path | None = None, part: int = 8) -> None:
        super().__init__(channels, weights=weights)
        if part < 2:
            raise ConfigError(f"tsm's part is 2 or more; got {part}")
        self.part = part

    def stages(self) -> Sequence[Stage]:
        """The residual stages with shifts."""
        return [partial(self._stage, blocks) for blocks in self.blocks()]

    def _stage(self, blocks: nn.Module, maps: Tensor) -> Tensor:
        for block in blocks.children():
            maps = self._block(block, maps)
        return maps

    def _block(self, block: resnet.BasicBlock, maps: Tensor) -> Tensor:
        """One residual block; torchvision's own forward has no place for the shift."""
        shifted = shift(maps, self.part) if maps.shape[1] > 1 else maps
        branch = each_picture(nn.Sequential(block.conv1, block.bn1, block.relu), shifted)
        branch = each_picture(nn.Sequential(block.conv2, block.bn2), branch)
        shortcut = maps if block.downsample is None else each_picture(block.downsample, maps)
        return torch.relu(branch + shortcut)
