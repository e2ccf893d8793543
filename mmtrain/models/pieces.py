"""Encoding a batch in pieces: the gradients of the whole, with the memory of one piece.

Each piece forgets its activations once its features are there, and computes them anew when the
gradient arrives. Whatever a method does with the features, it does with those of the whole batch,
so that its update is that of a large batch; only batch normalisation sees the pieces.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmtrain.models.layers import frozen_batch_norm
from mmtrain.types import Batch

Features = dict[str, Tensor]


def encode_in_pieces(
    encode: Callable[[Batch], Features], batch: Batch, count: int, modules: Sequence[nn.Module]
) -> Features:
    """Features of a batch, encoded piece by piece.

    Args:
        encode: Function from a batch to the features of its samples, which draws nothing at random
            but from the generators of the process.
        batch: The whole batch.
        count: Number of pieces.
        modules: Modules that ``encode`` runs.
    """
    size = -(-len(batch) // count)
    pieces = [batch.rows(begin, begin + size) for begin in range(0, len(batch), size)]
    # Without gradients nothing is remembered anyway.
    if len(pieces) == 1 or not torch.is_grad_enabled():
        return encode(batch)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _AsItWas(modules)

    encoded: list[Features] = [
        checkpoint(encode, piece, use_reentrant=False, context_fn=contexts) for piece in pieces
    ]
    return {name: torch.cat([each[name] for each in encoded]) for name in encoded[0]}


class _AsItWas(AbstractContextManager[None]):
    """Context of later passes: the modes of the first, and no second update of statistics.

    It can be entered again, as often as gradients are taken.

    Args:
        modules: Modules that the passes run.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._modules = modules
        self._modes = [(part, part.training) for module in modules for part in module.modules()]
        self._stack = ExitStack()

    def __enter__(self) -> None:
        self._stack.enter_context(frozen_batch_norm(*self._modules))
        for part, training in self._modes:
            self._stack.callback(setattr, part, "training", part.training)
            part.training = training

    def __exit__(self, *error: object) -> None:
        self._stack.close()
