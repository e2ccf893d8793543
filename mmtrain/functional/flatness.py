"""Directions in which a loss is flat, and the way to where it is sharp."""

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

# A gradient shorter than this has no direction, and a spread below this share of the largest
# eigenvalue is rounding.
_FLOOR: Final = 1e-12


def second_moment(
    inputs: Float[Tensor, "samples width"], group: int
) -> Float[Tensor, "width width"]:
    """``sum_b a_b a_b^T`` with ``a_b`` the mean of each ``group`` rows in turn; float64.

    (IGM, IJCAI 2025, Eq. 2, where a group is a mini-batch.) With ``group=1`` it is the full
    uncentred second moment ``A^T A``. The last group may be smaller.
    """
    whole = len(inputs) // group * group
    means = inputs[:whole].double().view(-1, group, inputs.shape[1]).mean(1)
    if whole < len(inputs):
        means = torch.cat([means, inputs[whole:].double().mean(0, keepdim=True)])
    return means.T @ means


def flat_projection(
    moment: Float[Tensor, "width width"], tau: float
) -> Float[Tensor, "width width"]:
    """The matrix that damps a gradient along the strong directions of ``moment``; float32.

    ``T = V diag(exp(-tau (lam_i - lam_min) / (lam_max - lam_min))) V^T`` with
    ``moment = V diag(lam) V^T`` (IGM, IJCAI 2025, Eq. 4). Symmetric, eigenvalues in
    [exp(-tau), 1]; the scale of ``moment`` does not matter. Where all eigenvalues are equal, no
    direction is strong and it is the identity.

    Args:
        moment: Second moment of the inputs of a layer, symmetric and positive semi-definite.
        tau: Strength of the damping, at least 0. With 0 the result is the identity, and with a
            large value the projection onto the complement of the strongest direction.
    """
    lam, vectors = torch.linalg.eigh(moment.double())
    lam = lam.clamp(min=0)
    rest, spread = lam - lam[0], lam[-1] - lam[0]
    damped = vectors * torch.exp(-tau * rest / spread.clamp(min=torch.finfo(lam.dtype).tiny))
    identity = torch.eye(len(lam), dtype=lam.dtype, device=lam.device)
    return torch.where(spread > _FLOOR * lam[-1], damped @ vectors.T, identity).float()


def ascent(gradients: Sequence[Tensor], radius: float) -> tuple[Tensor, ...]:
    """The step of length ``radius`` along which a loss rises most, to first order.

    ``eps = rho g / ||g||_2`` (SAM, Foret et al., ICLR 2021, Eq. 2 with p = 2), with one norm over
    all ``gradients``. Where that is below 1e-12 the step is shorter, and no step for 0.
    """
    norm = torch.nn.utils.get_total_norm(gradients)
    return torch._foreach_mul([*gradients], radius / norm.clamp(min=_FLOOR))


def perturb(
    parameters: Sequence[Tensor], gradients: Sequence[Tensor], radius: float
) -> tuple[Tensor, ...]:
    """Adds `ascent` to ``parameters`` in place and returns their old values.

    ``torch._foreach_copy_(parameters, returned)`` restores them bit for bit.
    """
    moved = [*parameters]
    with torch.no_grad():
        before = torch._foreach_mul(moved, 1.0)
        torch._foreach_add_(moved, ascent(gradients, radius))
    return before
