"""How new layers start: the same for the same seed, whatever else was made before."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer with Xavier-normal weights and no bias yet, as OGM's authors start theirs."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


@contextmanager
def seeded(seed: int, *names: str) -> Iterator[None]:
    """Layers made on the CPU inside depend on ``seed`` and ``names`` only.

    The generator of the process is left as it was. An encoder thus starts the same alone and beside
    others, and a head that a method adds changes nothing else.

    Example:
        >>> with seeded(run.seed, "head", modality):
        ...     head = linear(512, classes)
    """
    digest = hashlib.sha256(repr((seed, names)).encode()).digest()
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(int.from_bytes(digest[:7], "big"))
    try:
        yield
    finally:
        torch.set_rng_state(before)
