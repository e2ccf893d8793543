"""Image models of timm, "PyTorch Image Models" (Wightman, 2019), by name."""

from pathlib import Path
from types import ModuleType
from typing import Final, cast

from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.models.encoders.base import Encoder, each_picture
from mmtrain.models.encoders.weights import Source, load_weights

HUB: Final = "hub"


class Timm(Encoder):
    """A model of the timm library without its classifier, on pictures one by one, then their mean.

    ``phi = 1/T sum_t net(x_t)`` with average pooling. The model's first layer has as many input
    channels as the modality. Needs the extra ``timm``; ``timm.list_models()`` has the names. Some
    transformers take pictures of one size only.

    Weights in a file are those of timm or of torchvision for the same model, as ``torch.save`` or
    safetensors wrote them, for three input channels. For other numbers of channels each channel of
    the first convolution is the mean of the file's three. A missing tensor is an error; surplus
    tensors of a file are logged.

    It has no stages, so fusions that act between stages refuse it.

    Args:
        channels: Number of channels of the input.
        name: Name of the model, such as convnext_tiny.
        weights: File of weights; ``hub`` lets timm download its own, which it fits to the number
            of channels in its own way; None starts from scratch.
    """

    def __init__(
        self, channels: int, *, name: str = "resnet18", weights: str | Path | None = None
    ) -> None:
        super().__init__()
        timm = _timm()
        if not timm.is_model(name):
            raise UnknownName("timm model", name, timm.list_models())
        self.net = timm.create_model(
            name, pretrained=weights == HUB, in_chans=channels, num_classes=0, global_pool="avg"
        )
        features: int = self.net.num_features
        self._token_width = features
        # Models with layers behind the pooling are wider there.
        self.width = getattr(self.net, "head_hidden_size", None) or features
        if weights is not None and weights != HUB:
            _fill(self.net, Path(weights), name, channels)

    @property
    def token_width(self) -> int:
        """Entries of each of the `tokens`, before any layer behind the pooling."""
        return self._token_width

    def forward(
        self, inputs: Float[Tensor, "batch time channels height width"]
    ) -> Float[Tensor, "batch features"]:
        """The mean over a clip of the model's pooled features."""
        return each_picture(self.net, inputs).mean(1)

    def tokens(
        self, inputs: Float[Tensor, "batch time channels height width"]
    ) -> Float[Tensor, "batch places features"]:
        """Features before pooling at every place, those of a transformer's class token included."""
        maps = each_picture(self.net.forward_features, inputs)
        if maps.ndim == 4:  # (B, T, tokens, features)
            return maps.flatten(1, 2)
        # Some models, such as Swin, have the channels last.
        return (maps.movedim(2, -1) if maps.shape[2] == self._token_width else maps).flatten(1, 3)


def _timm() -> ModuleType:
    try:
        import timm  # type: ignore[import-not-found, import-untyped, unused-ignore]  # optional
    except ImportError as error:
        raise ConfigError(
            "the encoder timm needs the library timm; install the extra: pip install mmprep[timm]"
        ) from error
    library: ModuleType = timm
    return library


def _fill(net: nn.Module, path: Path, name: str, channels: int) -> None:
    """Fills ``net`` from a file."""
    config = cast("dict[str, object]", net.pretrained_cfg)
    first, classifiers = config.get("first_conv"), config.get("classifier") or ()
    if not isinstance(first, str):
        first = None
    if first is None and channels != 3:
        raise ConfigError(
            f"timm does not name one first convolution of {name}, so {path} cannot be fitted to "
            f"{channels} channels; start from scratch or choose another model"
        )
    names = (classifiers,) if isinstance(classifiers, str) else cast("tuple[str, ...]", classifiers)
    load_weights(
        net,
        Source(path, f"state dict of {name}", "get one of timm or torchvision for this model"),
        stem=None if first is None else f"{first}.weight",
        channels=channels,
        classifiers=tuple(f"{each}." for each in names),
        exact=False,
    )
