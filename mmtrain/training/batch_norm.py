"""Running statistics of batch normalisation, over the ranks and over steps without data."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from mmtrain.training.ranks import Ranks


@contextmanager
def preserve_statistics(model: nn.Module, enabled: bool = True) -> Iterator[None]:
    """Puts running statistics back as they were before, where ``enabled``.

    For a rank that has only fillers at a step: it computes with them, so that the ranks stay in
    step, but they are no data. The layers stay in training mode, which a method may switch itself.

    Args:
        model: Model with layers that keep statistics of their own; those that share them over the
            ranks (`torch.nn.SyncBatchNorm`) are left alone, for they must stay alike on all ranks.
        enabled: Whether to do anything.
    """
    layers = [
        module
        for module in model.modules()
        if enabled
        and isinstance(module, nn.modules.batchnorm._BatchNorm)
        and not isinstance(module, nn.SyncBatchNorm)
    ]
    before = [(buffer, buffer.clone()) for layer in layers for buffer in layer.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)


def average_statistics(model: nn.Module, ranks: Ranks) -> None:
    """Where each rank has made its own statistics of batch normalisation, all take the mean."""
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    own = [m for m in layers if not isinstance(m, nn.SyncBatchNorm)]
    statistics = [b for m in own for b in (m.running_mean, m.running_var) if b is not None]
    if statistics:
        ranks.average(statistics, 1)
