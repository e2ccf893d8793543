"""Heads of a modality with more than one layer."""

from typing import Final

from torch import Tensor, nn

from mmtrain.models.layers import linear

_WIDTHS: Final = (256, 64)


def mlp(width: int, classes: int) -> nn.Sequential:
    """The head of IGM's authors: ``width -> 256, ReLU, 256 -> 64, 64 -> classes``."""
    wide, narrow = _WIDTHS
    return nn.Sequential(
        linear(width, wide), nn.ReLU(), linear(wide, narrow), linear(narrow, classes)
    )


def linear_layers(head: nn.Module) -> list[nn.Linear]:
    """The linear layers of an `mlp`, in order."""
    return [layer for layer in head.children() if isinstance(layer, nn.Linear)]


def layer_inputs(head: nn.Module, features: Tensor) -> list[Tensor]:
    """Input of each linear layer of an `mlp` for ``features``."""
    inputs = []
    for layer in head.children():
        if isinstance(layer, nn.Linear):
            inputs.append(features)
        features = layer(features)
    return inputs
