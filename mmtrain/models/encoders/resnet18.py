"""ResNet-18 (He et al., CVPR 2016), torchvision's; the encoder of OGM, AUG, LFM, IPRM and BSS.

Differs from the papers' copies: AMSS's authors use GELU, and Relearning's start batch normalisation
from N(1, 0.02); here it is ReLU and 1, as in OGM's code.
"""

import pickle
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torchvision.models.resnet import resnet18  # type: ignore[import-untyped]  # ships no types

from mmtrain.errors import ConfigError
from mmtrain.models.encoders.base import Encoder

_STEM: Final = "conv1.weight"
_SOURCE: Final = "https://download.pytorch.org/models/resnet18-f37072fd.pth"


class ResNet18(Encoder):
    """ResNet-18 without its classifier: 512 features, all >= 0; 11.2 million parameters.

    Convolutions start Kaiming-normal by fan-out, batch normalisation at 1 and 0. The first
    convolution has as many input channels as the modality: audio 1, visual 3, flow 2 L.

    With ``weights`` all but the first convolution is as in the file. It is too for 3 channels;
    otherwise each of its input channels is the mean of the file's three, not rescaled (TSN, Wang
    et al., ECCV 2016, cross-modality initialisation).

    Args:
        channels: Of the input.
        weights: File with torchvision's ResNet-18 state dict, such as resnet18-f37072fd.pth;
            nothing is downloaded. None starts from scratch.
    """

    width = 512

    def __init__(self, channels: int, *, weights: Path | None = None) -> None:
        super().__init__()
        self.net = resnet18(weights=None)
        self.net.fc = nn.Identity()
        stem = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        self.net.conv1 = stem
        if weights is not None:
            _restore(self.net, Path(weights), channels)

    def picture(self, pictures: Tensor) -> Tensor:
        """The feature vector of each picture."""
        pooled: Tensor = self.net(pictures)
        return pooled

    def filters(self) -> list[Tensor]:
        """Those of the residual stages: 16 of 3 x 3, without the 1 x 1 of the shortcuts."""
        return [weight for weight in super().filters() if weight[0, 0].numel() > 1]


def adapted(stem: Tensor, channels: int) -> Tensor:
    """``stem`` (64, 3, 7, 7) for ``channels`` inputs: as it is for 3, else the mean, repeated."""
    return stem if channels == 3 else stem.mean(1, keepdim=True).repeat(1, channels, 1, 1)


def _restore(net: nn.Module, path: Path, channels: int) -> None:
    """Fills ``net`` from the file, whose classifier is left out."""
    state = {k: v for k, v in _read(path).items() if not k.startswith("fc.")}
    stem = state.get(_STEM)
    if stem is None or stem.shape != (64, 3, 7, 7):
        shape = "absent" if stem is None else tuple(stem.shape)
        raise _wrong(path, f"{_STEM} is {shape}, not (64, 3, 7, 7)")
    state[_STEM] = adapted(stem, channels)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise _wrong(path, first[0].strip()[:200]) from error


def _read(path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ConfigError(f"cannot read weights {path}: {error.strerror}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise _wrong(path, "PyTorch cannot read it as plain tensors") from error
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise _wrong(path, "it holds no mapping of names to tensors")
    return dict(found)


def _wrong(path: Path, why: str) -> ConfigError:
    return ConfigError(f"{path} is no ResNet-18 state dict of torchvision: {why}; get {_SOURCE}")
