"""Gradients of encoders, scaled and with noise (OGM, Wei et al., TPAMI 2024, Sec. 3.2.2)."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor


def scale_gradients(
    gradients: Mapping[str, list[Tensor]],
    k: Float[Tensor, " modalities"],
    noise: torch.Generator | None = None,
) -> tuple[Float[Tensor, " modalities"], Float[Tensor, " modalities"]]:
    """In place ``g <- k^m g + h`` of every tensor of each modality (Eq. 12; Eq. 16 with noise).

    Args:
        gradients: Modality to the gradients that are edited, in the order of ``k``.
        k: Factor by modality.
        noise: Generator of ``h``, on the device of ``g``. Each entry is normal with the unbiased
            standard deviation of the entries of ``g`` before the factor. None adds no noise.

    Returns:
        Norms by modality before and after.
    """
    before = _norms(gradients, k)
    for factor, tensors in zip(k, gradients.values(), strict=True):
        added = [] if noise is None else [_noise_like(g, noise) for g in tensors]
        if tensors:
            torch._foreach_mul_(tensors, factor)
        if added:
            torch._foreach_add_(tensors, added)
    return before, _norms(gradients, k)


def device_generator(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """Makes a generator on ``device``, seeded by a draw of one on the CPU."""
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    return torch.Generator(device).manual_seed(seed)


def standard_normal(draws: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Standard normal numbers from uniform ones in [0, 1); finite at 0."""
    numbers: Tensor = torch.special.ndtri(draws.clamp(min=2.0**-25))
    return numbers


def weight_gradients(
    feature: Float[Tensor, "batch width"], weights: Float[Tensor, " batch"]
) -> None:
    """Multiplies the gradient that flows from ``feature`` back to its encoder, sample by sample."""
    if feature.requires_grad:
        hook: Callable[[Callable[[Tensor], Tensor]], object] = feature.register_hook
        hook(lambda gradient: gradient * weights[:, None])


def _norms(gradients: Mapping[str, list[Tensor]], like: Tensor) -> Tensor:
    norms = [
        torch.stack(torch._foreach_norm(tensors)).norm() if tensors else like.new_zeros(())
        for tensors in gradients.values()
    ]
    return torch.stack(norms)


def _noise_like(gradient: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.empty_like(gradient).normal_(generator=generator)
    # One entry has no spread.
    return drawn.mul_(gradient.std()) if gradient.numel() > 1 else drawn.zero_()
