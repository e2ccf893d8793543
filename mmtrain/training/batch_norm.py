"""Batch normalisation over ranks, over steps without data, and over a single value."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mmtrain.training.ranks import Ranks


def allow_single_values(model: nn.Module) -> None:
    """Lets layers of ``model`` train on one value a channel, by their running statistics.

    Such is the last sample of an epoch where it is alone in its step, or on its rank, and the map
    is 1 x 1: `resnet18` on pictures of 32 pixels. One value has no spread to be divided by, and
    torch raises. Leaving the sample out, or moving it to another step, would change the epoch and
    make it depend on the number of ranks; instead the layer normalises as in evaluation, and its
    statistics stay as they are.
    """
    for module in model.modules():
        own = isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
        if own and not hasattr(module, "single"):
            module.__dict__["single"] = False
            module.register_forward_pre_hook(_enter_evaluation)
            module.register_forward_hook(_leave_evaluation, always_call=True)


def _is_single(values: Tensor) -> bool:
    return values.numel() == values.shape[1]


def _enter_evaluation(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if module.training and _is_single(inputs[0]):
        module.training, module.__dict__["single"] = False, True


def _leave_evaluation(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
    if module.__dict__["single"]:
        module.training, module.__dict__["single"] = True, False


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
    if not enabled:  # Nearly every step; a walk over all modules is not for nothing.
        yield
        return
    layers = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
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
