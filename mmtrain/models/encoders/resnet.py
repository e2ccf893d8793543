"""ResNets (He et al., CVPR 2016), torchvision's; ResNet-18 is the encoder of OGM, AUG, LFM, IPRM.

Differs from the papers' copies: AMSS's authors use GELU, and Relearning's start batch normalisation
from N(1, 0.02); here it is ReLU and 1, as in OGM's code.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from torch import Tensor, nn
from torchvision.models import resnet  # type: ignore[import-untyped]  # ships no types

from mmtrain.models.encoders.base import Pictures
from mmtrain.models.encoders.weights import Source, load_weights

_STEM: Final = "conv1.weight"
_SITE: Final = "https://download.pytorch.org/models"


class ResNet18(Pictures):
    """ResNet-18 without its classifier: 512 features, all >= 0; 11.2 million parameters.

    Convolutions start Kaiming-normal by fan-out, batch normalisation at 1 and 0. The first
    convolution has as many input channels as the modality: audio 1, visual 3, flow 2 L.

    With ``weights`` all but the first convolution is as in the file. It is too for 3 channels;
    otherwise each of its input channels is the mean of the file's three, not rescaled (TSN, Wang
    et al., ECCV 2016, cross-modality initialisation).

    Args:
        channels: Number of channels of the input.
        weights: File with torchvision's state dict of this network, such as resnet18-f37072fd.pth;
            nothing is downloaded. None starts from scratch.
    """

    width = 512
    stage_widths = (64, 128, 256, 512)

    title: ClassVar[str] = "ResNet-18"
    file: ClassVar[str] = "resnet18-f37072fd.pth"
    network = staticmethod(resnet.resnet18)

    def __init__(self, channels: int, *, weights: str | Path | None = None) -> None:
        super().__init__()
        self.net = self.network(weights=None)
        self.net.fc = nn.Identity()
        stem = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        self.net.conv1 = stem
        if weights is not None:
            kind = f"{self.title} state dict of torchvision"
            source = Source(Path(weights), kind, f"get {_SITE}/{self.file}")
            load_weights(self.net, source, stem=_STEM, channels=channels, classifiers=("fc.",))

    def stem(self, pictures: Tensor) -> Tensor:
        """First convolution and pooling."""
        net = self.net
        maps: Tensor = net.maxpool(net.relu(net.bn1(net.conv1(pictures))))
        return maps

    def blocks(self) -> Sequence[nn.Module]:
        """The four residual stages."""
        return [self.net.layer1, self.net.layer2, self.net.layer3, self.net.layer4]

    def filters(self) -> list[Tensor]:
        """Those of the residual branches, without the 1 x 1 of the shortcuts."""
        shortcuts = [
            layer.weight
            for name, layer in self.named_modules()
            if isinstance(layer, nn.Conv2d) and ".downsample." in name
        ]
        return [w for w in super().filters() if not any(w is other for other in shortcuts)]


class ResNet50(ResNet18):
    """ResNet-50 without its classifier: 2,048 features, all >= 0; 23.5 million parameters.

    Bottlenecks of 1 x 1, 3 x 3 and 1 x 1 convolutions; the stride is on the 3 x 3, as torchvision
    has it. It starts, and takes a file, as `resnet18` does.

    Args:
        channels: Number of channels of the input.
        weights: File with torchvision's state dict of this network, such as resnet50-11ad3fa6.pth;
            nothing is downloaded. None starts from scratch.
    """

    width = 2048
    stage_widths = (256, 512, 1024, 2048)

    title = "ResNet-50"
    file = "resnet50-11ad3fa6.pth"
    network = staticmethod(resnet.resnet50)
