"""The interface of the fusions, and the share of a modality where a fusion is not a sum."""

from collections.abc import Callable, Mapping
from functools import reduce
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.models.encoders.base import Encoder

# Widths may differ between modalities.
Features: TypeAlias = Mapping[str, Float[Tensor, "batch _"]]


class Fusion(nn.Module):
    """Base of the fusions, for any number of modalities from one.

    A subclass gives `split`; where it is not additive, `forward` too. One that reads more than the
    pooled feature vectors overrides `encode`.

    Args:
        widths: Modality to the width of its encoder; the order is the order of modalities.
        classes: Number of classes.

    Attributes:
        additive: Whether the shares sum to the fused logits, bit for bit.
        joint: Whether encoders exchange information, so that none can run without the others.
        widths: Modality to the width of its encoder.
        feature_widths: Modality to the width of the features that `encode` gives and `forward`
            takes; `widths` unless a subclass sets others.
    """

    additive: ClassVar[bool] = True
    joint: ClassVar[bool] = False

    __call__: Callable[..., Tensor]

    def __init__(self, widths: Mapping[str, int], classes: int) -> None:
        super().__init__()
        self.widths = dict(widths)
        self.feature_widths = self.widths
        self.classes = classes

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names, in the order of the layers."""
        return tuple(self.widths)

    def encode(
        self, encoders: Mapping[str, Encoder], prepared: Mapping[str, Tensor]
    ) -> dict[str, Float[Tensor, "batch _"]]:
        """Modality to its features; by default each encoder's, by itself.

        Args:
            encoders: Modality to its encoder. Where the fusion is not `joint` these may be some of
                the modalities.
            prepared: The same modalities to the inputs of their encoders.
        """
        return {m: encoder(prepared[m]) for m, encoder in encoders.items()}

    def forward(self, features: Features) -> Float[Tensor, "batch classes"]:
        """Fused logits."""
        return reduce(torch.add, self.split(features).values())

    def split(self, features: Features) -> dict[str, Float[Tensor, "batch classes"]]:
        """Each modality's share of the fused logits; gradients flow through it."""
        raise NotImplementedError

    def matrix(self, modality: str) -> tuple[Tensor, slice] | None:
        """The matrix that takes a modality's features to logits: a weight, and columns of it.

        None where there is none of its own, for features of several modalities meet before it.
        """
        return None


def zero_out(
    fuse: Callable[[Features], Tensor], features: Features
) -> dict[str, Float[Tensor, "batch classes"]]:
    """Shares in a fusion whose modalities interact: its logits of one when the others are 0.

    ``u^m = f(0, .., phi^m, .., 0) - (1 - 1 / M) f(0, .., 0)`` (OGM, Wei et al., TPAMI 2024, Sec.
    4.3.7, which leaves the second term out). The logits of no input, biases for the most part, are
    thus split evenly. The shares sum to the fused logits less the interaction of the modalities;
    in an additive fusion there is none, and this is the split of its bias by ``1 / M``.
    """
    nothing = {m: torch.zeros_like(feature) for m, feature in features.items()}
    common = fuse(nothing) * (1 - 1 / len(features))
    return {m: fuse({**nothing, m: feature}) - common for m, feature in features.items()}


def common_width(kind: str, widths: Mapping[str, int]) -> int:
    """The one width of all modalities' features, which go through the same layer.

    Raises:
        ConfigError: Encoders differ in width.
    """
    if len({*widths.values()}) > 1:
        shown = ", ".join(f"{m} {width}" for m, width in widths.items())
        raise ConfigError(
            f"{kind} is for all modalities and takes equally wide features; got {shown}. Give the "
            "encoders the same width"
        )
    return next(iter(widths.values()))


def leader(kind: str, role: str, chosen: str | None, widths: Mapping[str, int]) -> str:
    """The modality that acts on the others: the chosen one, or else the first.

    Raises:
        ConfigError: There is no other modality to act on.
        UnknownName: The chosen one is not among them.
    """
    if len(widths) < 2:
        raise ConfigError(f"{kind} needs two modalities or more; got {', '.join(widths)}")
    if chosen is not None and chosen not in widths:
        raise UnknownName(f"modality for {kind}.{role}", chosen, widths)
    return next(iter(widths)) if chosen is None else chosen
