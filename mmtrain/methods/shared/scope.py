"""Layers of a network that a projection of gradients reaches, and the mean inputs of each."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Layer: TypeAlias = nn.Linear | nn.Conv2d


def layers_in_scope(*modules: nn.Module, scope: float) -> list[Layer]:
    """Layers of ``modules`` from the output backwards that hold a share of the weights, in order.

    Args:
        modules: Parts of a network in the order in which they run.
        scope: Share of the weights of all linear layers and convolutions, in [0, 1]. The first
            layer by which it is reached is the last to be taken.
    """
    layers = [
        layer
        for module in modules
        for layer in module.modules()
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)
    ]
    wanted, chosen = scope * sum(layer.weight.numel() for layer in layers), 0
    taken: list[Layer] = []
    while chosen < wanted:
        taken.append(layers.pop())
        chosen += taken[-1].weight.numel()
    return taken[::-1]


@contextmanager
def recorded_inputs(layers: Sequence[Layer], samples: int) -> Iterator[Mapping[str, Tensor]]:
    """Records the mean input (b, d) of each layer for each sample, by the layer's number.

    Args:
        layers: Layers, each of which runs once inside.
        samples: Number of samples; several pictures of one are averaged.
    """
    means: dict[str, Tensor] = {}

    def record(name: str, layer: Layer, inputs: Tensor) -> None:
        of_picture = mean_patch(layer, inputs) if isinstance(layer, nn.Conv2d) else inputs
        means[name] = of_picture.reshape(samples, -1, of_picture.shape[-1]).mean(1)

    hooks = [
        layer.register_forward_pre_hook(
            lambda module, given, name=str(number): record(name, module, given[0].detach().float())
        )
        for number, layer in enumerate(layers)
    ]
    try:
        yield means
    finally:
        for hook in hooks:
            hook.remove()


def mean_patch(
    layer: nn.Conv2d, inputs: Float[Tensor, "pictures channels rows columns"]
) -> Float[Tensor, "pictures entries"]:
    """Mean over all places of the patch that a convolution sees, in the order of its weights.

    That of `torch.nn.functional.unfold`, without its copy of each entry for every patch.
    """
    padded = F.pad(inputs, layer._reversed_padding_repeated_twice)
    spans = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    height, width = (size - span for size, span in zip(padded.shape[-2:], spans, strict=True))
    (down, right), (row_step, column_step) = layer.stride, layer.dilation
    places = [
        padded[:, :, i : i + height : down, j : j + width : right].mean((-2, -1))
        for i in range(0, spans[0] + 1, row_step)
        for j in range(0, spans[1] + 1, column_step)
    ]
    return torch.stack(places, -1).flatten(1)
