"""Random numbers that are the same on all ranks, where `Run.draws` draws by sample."""

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.methods.base import Run


def uniform_like(run: Run, like: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Uniform numbers in [0, 1) of the shape, precision and device of ``like``."""
    # Pinned, so that the copy from the saved generator, on the CPU, does not wait for the device.
    numbers = torch.rand(
        like.shape, generator=run.generator, dtype=like.dtype, pin_memory=like.is_cuda
    )
    return torch.empty_like(like).copy_(numbers, non_blocking=True)
