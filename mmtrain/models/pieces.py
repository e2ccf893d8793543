"""Encoding a batch in pieces: the gradients of the whole, with the memory of one piece.

Each piece forgets its activations once its features are there, and computes them anew when the
gradient arrives. Whatever a method does with the features, it does with those of the whole batch,
so that its update is that of a large batch; only batch normalisation sees the pieces.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

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
        return nullcontext(), _as_it_was(modules)

    encoded: list[Features] = [
        checkpoint(encode, piece, use_reentrant=False, context_fn=contexts) for piece in pieces
    ]
    return {name: torch.cat([each[name] for each in encoded]) for name in encoded[0]}


def _as_it_was(modules: Sequence[nn.Module]) -> AbstractContextManager[None]:
    """Context of the second pass: modes of the first, and no second update of statistics."""
    modes = [(part, part.training) for module in modules for part in module.modules()]

    @contextmanager
    def context() -> Iterator[None]:
        now = [part.training for part, _ in modes]
        for part, training in modes:
            part.training = training
        try:
            with frozen_batch_norm(*modules):
                yield
        finally:
            for (part, _), training in zip(modes, now, strict=True):
                part.training = training

    return context()
