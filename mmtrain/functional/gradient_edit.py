"""Gradients of encoders, scaled and with noise (OGM, Wei et al., TPAMI 2024, Sec. 3.2.2)."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor


def edit(
    gradients: Mapping[str, list[Tensor]],
    k: Float[Tensor, " modalities"],
    noise: torch.Generator | None = None,
) -> tuple[Float[Tensor, " modalities"], Float[Tensor, " modalities"]]:
    """In place ``g <- k^m g + h`` of every tensor of each modality (Eq. 12; Eq. 16 with noise).

    Args:
        gradients: Modality to what is edited, in the order of ``k``.
        k: Factor by modality.
        noise: Draws ``h``, of which each entry is normal with the standard deviation of the entries
            of ``g``, unbiased, before the factor; on the device of ``g``. None adds none.

    Returns:
        Norms by modality before and after.
    """
    before = _norms(gradients, k)
    for factor, own in zip(k, gradients.values(), strict=True):
        added = [] if noise is None else [_like(g, noise) for g in own]
        if own:
            torch._foreach_mul_(own, factor)
        if added:
            torch._foreach_add_(own, added)
    return before, _norms(gradients, k)


def on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """A generator on ``device`` that starts from a number drawn by one on the CPU."""
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    return torch.Generator(device).manual_seed(seed)


def normal(draws: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Standard normal numbers from uniform ones in [0, 1); finite at 0."""
    numbers: Tensor = torch.special.ndtri(draws.clamp(min=2.0**-25))
    return numbers


def weigh(feature: Float[Tensor, "batch width"], weights: Float[Tensor, " batch"]) -> None:
    """Lets what is behind ``feature`` see each sample's gradient times its weight."""
    if feature.requires_grad:
        hook: Callable[[Callable[[Tensor], Tensor]], object] = feature.register_hook
        hook(lambda gradient: gradient * weights[:, None])


def _norms(gradients: Mapping[str, list[Tensor]], like: Tensor) -> Tensor:
    norms = [
        torch.stack(torch._foreach_norm(own)).norm() if own else like.new_zeros(())
        for own in gradients.values()
    ]
    return torch.stack(norms)


def _like(gradient: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.empty_like(gradient).normal_(generator=generator)
    # One entry has no spread.
    return drawn.mul_(gradient.std()) if gradient.numel() > 1 else drawn.zero_()
