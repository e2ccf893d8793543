"""The interface of the encoders, and the base of those that look at pictures."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar, TypeAlias

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from mmtrain.errors import ConfigError
from mmtrain.modalities import PICTURES, SPECTROGRAM

# Maps of one stage to those of the next.
Stage: TypeAlias = Callable[[Tensor], Tensor]


class InputSize(int):
    """Size of an encoder's input: a number, which encoders of pictures take as one of channels.

    Attributes:
        kind: Kind of the input, see `mmtrain.modalities`. The number is that of the channels of
            pictures or of a spectrogram, of the features of a step of a sequence, or of the tokens
            in a vocabulary, padding included.
        shape: Shape of one sample in a batch, such as (128,) for a text of 128 tokens.
    """

    kind: str
    shape: tuple[int, ...]

    def __new__(cls, size: int, kind: str = PICTURES, shape: tuple[int, ...] = ()) -> "InputSize":
        """Makes the number with the facts about its input."""
        made = super().__new__(cls, size)
        made.kind, made.shape = kind, shape
        return made


class Encoder(nn.Module):
    """Base of the encoders: the input of one modality to one vector a sample.

    It is made from the `InputSize` of the modality, its only argument by position.

    A subclass sets `width` and either overrides `forward`, or can be divided: then it gives
    `begin`, `stages`, `finish`, `pool`, `gate` and `stage_widths`, so that a fusion may act between
    its stages, and `forward` is all of them in turn. Between stages there are *maps*: features at
    every place, first dimension the batch, whose further layout is the encoder's own affair.

    Attributes:
        kinds: Kinds of input that it takes, see `mmtrain.modalities`.
        rate: Factor on the learning rate of its parameters.
        width: Entries of a feature vector.
        stage_widths: Channels of the maps behind each stage; empty where an encoder has no stages.
        token_width: Entries of each of the `tokens`; `width` unless a subclass sets another.

    Example:
        >>> maps = encoder.begin(inputs)            # doctest: +SKIP
        >>> for stage in encoder.stages():          # doctest: +SKIP
        ...     maps = stage(maps)
        >>> feature = encoder.finish(maps)          # doctest: +SKIP
    """

    kinds: ClassVar[tuple[str, ...]] = (PICTURES, SPECTROGRAM)
    rate: float = 1.0
    width: int
    stage_widths: tuple[int, ...] = ()

    __call__: Callable[..., Tensor]

    @classmethod
    def without_files(cls, settings: Mapping[str, object]) -> dict[str, object]:
        """Settings of the same network without its file of weights, for others that come later."""
        return {name: None if name == "weights" else value for name, value in settings.items()}

    @property
    def token_width(self) -> int:
        """Entries of each of the `tokens`."""
        return self.width

    def forward(self, inputs: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch features"]:
        """The feature vector of each sample."""
        return self.finish(self._maps(inputs))

    def begin(self, inputs: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Maps that the first stage takes."""
        raise NotImplementedError

    def stages(self) -> Sequence[Stage]:
        """The stages in order, each from maps to maps."""
        return ()

    def finish(self, maps: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch features"]:
        """The feature vector of each sample, from the maps behind the last stage."""
        raise NotImplementedError

    def pool(self, maps: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch channels"]:
        """The mean of each channel over all places."""
        raise NotImplementedError

    def gate(
        self, maps: Float[Tensor, "batch ..."], gates: Float[Tensor, "batch channels"]
    ) -> Float[Tensor, "batch ..."]:
        """Maps whose channels are multiplied by ``gates`` at every place."""
        raise NotImplementedError

    def tokens(self, inputs: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch places features"]:
        """Features of the last stage at every place, before they are pooled.

        Raises:
            ConfigError: The encoder has none.
        """
        raise ConfigError(
            f"the encoder {type(self).__name__} gives a vector and no tokens; choose another, or "
            "another fusion"
        )

    def filters(self) -> list[Tensor]:
        """Weights of the convolutions behind the first, one filter a row, for methods that mask.

        Those that take part in training. Encoders of steps give their linear layers too.
        """
        layers = [m for m in self.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d))]
        return [layer.weight for layer in layers[1:] if layer.weight.requires_grad]

    def _maps(self, inputs: Tensor) -> Tensor:
        """Maps behind the last stage."""
        maps = self.begin(inputs)
        for stage in self.stages():
            maps = stage(maps)
        return maps


class Pictures(Encoder):
    """Base of the encoders of clips (B, T, C, H, W): pictures one by one, then the mean over time.

    A subclass gives `stem`, `blocks` and `stage_widths`. The T pictures of a clip are folded into
    the batch, so that batch statistics are those of B T pictures; a feature is the mean over area
    and time at once, as OGM's authors have it, whatever the order of the pictures.

    Maps are (B, T, channels, height, width).
    """

    def stem(
        self, pictures: Float[Tensor, "pictures channels height width"]
    ) -> Float[Tensor, "pictures maps rows columns"]:
        """Maps of single pictures that the first block takes."""
        return pictures

    def blocks(self) -> Sequence[nn.Module]:
        """Modules of the stages, each from maps of pictures to maps of pictures."""
        raise NotImplementedError

    def begin(
        self, inputs: Float[Tensor, "batch time channels height width"]
    ) -> Float[Tensor, "batch time maps rows columns"]:
        """Maps that the first stage takes."""
        return each_picture(self.stem, inputs)

    def stages(self) -> Sequence[Stage]:
        """The stages in order; each takes and gives (B, T, channels, height, width)."""
        return [partial(each_picture, block) for block in self.blocks()]

    def finish(
        self, maps: Float[Tensor, "batch time channels height width"]
    ) -> Float[Tensor, "batch channels"]:
        """The mean over area and time."""
        return self.pool(maps)

    def pool(
        self, maps: Float[Tensor, "batch time channels height width"]
    ) -> Float[Tensor, "batch channels"]:
        """The mean of each channel over area, then over time."""
        return maps.mean((-2, -1)).mean(1)

    def gate(
        self,
        maps: Float[Tensor, "batch time channels height width"],
        gates: Float[Tensor, "batch channels"],
    ) -> Float[Tensor, "batch time channels height width"]:
        """Maps whose channels are multiplied by ``gates`` in every picture, at every place."""
        return maps * gates[:, None, :, None, None]

    def tokens(
        self, inputs: Float[Tensor, "batch time channels height width"]
    ) -> Float[Tensor, "batch places features"]:
        """Features of the last stage at every place, picture by picture and row by row."""
        return self._maps(inputs).movedim(2, -1).flatten(1, 3)


def each_picture(
    module: Callable[[Tensor], Tensor], maps: Float[Tensor, "batch time *shape"]
) -> Float[Tensor, "batch time *result"]:
    """Applies ``module`` to each of B T pictures, which are folded into the batch for it."""
    applied = module(maps.flatten(0, 1))
    return applied.view(*maps.shape[:2], *applied.shape[1:])
