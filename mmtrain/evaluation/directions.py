"""Directions of a loss landscape: random, and scaled filter by filter to the weights.

Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, Sec. 4: weights whose scale
means nothing, as before a normalisation, would make a minimum look flat that is not.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Direction = Mapping[str, Tensor]


def filter_normalised(direction: Tensor, weights: Tensor) -> Tensor:
    """``d_i ||w_i|| / ||d_i||`` for each filter ``i``, the first dimension of the weights.

    0 for weights of fewer than two dimensions, as the authors have it: biases, and scales and
    shifts of normalisation, stay as they are.
    """
    if weights.ndim < 2:
        return torch.zeros_like(weights)
    dims = tuple(range(1, weights.ndim))
    length = torch.linalg.vector_norm(weights, dim=dims, keepdim=True)
    own = torch.linalg.vector_norm(direction, dim=dims, keepdim=True)
    scaled: Tensor = direction * length / own.clamp(min=1e-30)
    return scaled


def random_direction(model: nn.Module, seed: int, axis: int) -> dict[str, Tensor]:
    """Name of each trained parameter to its part of a filter-normalised random direction.

    The draw depends on the seed, the axis, and name and shape of the parameter alone: models of the
    same architecture have the same one before its filters are scaled.

    Args:
        model: Model with the weights at which the landscape has its middle.
        seed: Seed of the draws.
        axis: Number of the direction.
    """
    direction = {}
    for name, weights in model.named_parameters():
        if weights.requires_grad:
            digest = hashlib.sha256(f"{seed}/{axis}/{name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))
            # On the CPU, whose generator is the same everywhere.
            draw = torch.randn(weights.shape, generator=generator)
            direction[name] = filter_normalised(draw.to(weights), weights.detach())
    return direction


class Walk:
    """Moves the weights of a model along directions.

    Args:
        model: Model with the weights at which the landscape has its middle.
        directions: One for each axis.
    """

    def __init__(self, model: nn.Module, directions: Sequence[Direction]) -> None:
        parameters = dict(model.named_parameters())
        self._steps = [
            (parameters[name], parameters[name].detach().clone(), [d[name] for d in directions])
            for name in (directions[0] if directions else ())
        ]

    @contextmanager
    def at(self, place: Sequence[float]) -> Iterator[None]:
        """Within, the weights are those at ``place``, one coordinate an axis."""
        try:
            self._set(place)
            yield
        finally:
            self._set(())

    @torch.no_grad()
    def _set(self, place: Sequence[float]) -> None:
        for parameter, middle, steps in self._steps:
            parameter.copy_(middle)
            for length, step in zip(place, steps, strict=False):
                if length:
                    parameter.add_(step, alpha=length)
