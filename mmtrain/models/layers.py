"""Layers: reproducible initialisation, and passes that leave running statistics alone."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that starts with Xavier-normal weights and a bias of 0, as in OGM's code."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


@contextmanager
def seeded(seed: int, *names: str) -> Iterator[None]:
    """Makes what is drawn on the CPU inside depend on ``seed`` and ``names`` only.

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


@contextmanager
def frozen_batch_norm(*modules: nn.Module) -> Iterator[None]:
    """Keeps the running statistics of batch normalisation inside ``modules`` as they are.

    In training mode it normalises by the batch's statistics as ever, but the updates of running
    means, variances and counts go to copies that are dropped, so that these stay bit for bit. For a
    second pass over a batch in one step. Synchronised batch normalisation too.
    """
    norms = [n for module in modules for n in module.modules() if isinstance(n, _BatchNorm)]
    statistics = [dict(norm.named_buffers()) for norm in norms]
    for norm, buffers in zip(norms, statistics, strict=True):
        for name, buffer in buffers.items():
            setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, buffers in zip(norms, statistics, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
