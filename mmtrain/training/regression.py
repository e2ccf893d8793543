"""Multinomial logistic regression with an L2 penalty, solved to its minimum.

The objective is ``mean_i CE(x_i W + b, y_i) + strength / 2 |W|^2``; the bias has no penalty. At the
small strengths of a probe, gradient methods and L-BFGS stop far above its minimum. Newton's method
does not: each step solves ``H d = -g`` by conjugate gradients, from products with the Hessian ``H``
alone, which at 512 features and 309 classes would not fit in memory.
"""

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

log = logging.getLogger(__name__)

# A fit ends where no entry of the gradient is larger.
_GRADIENT: Final = 1e-8
_STEPS: Final = 100
_INNER_STEPS: Final = 200
_HALVINGS: Final = 40
# Smallest decrease of the loss, as a share of what the slope promises (Armijo's rule).
_DECREASE: Final = 1e-4
# Sums of losses differ by this much through rounding alone.
_ROUNDING: Final = 1e-13


class Examples(NamedTuple):
    """Features (n, width) of samples, and their classes (n,)."""

    features: Float[Tensor, "samples width"]
    target: Int[Tensor, " samples"]


def fit(
    examples: Examples, start: Float[Tensor, "width+1 classes"], strength: float
) -> Float[Tensor, "width+1 classes"]:
    """The head that minimises the objective.

    Args:
        examples: Standardised features, float64, and classes.
        start: Weights to start from; the last row is the bias.
        strength: Strength of the L2 penalty.
    """
    ones = examples.features.new_ones(len(examples.features), 1)
    rows = torch.cat([examples.features, ones], dim=1)
    penalty = rows.new_full((rows.shape[1], 1), strength)
    penalty[-1] = 0
    gram = rows.T @ rows / len(rows)
    wanted = F.one_hot(examples.target, start.shape[1]).to(rows.dtype)
    head = start
    for _ in range(_STEPS):
        probs = (rows @ head).softmax(-1)
        gradient = rows.T @ (probs - wanted) / len(rows) + penalty * head
        if float(gradient.abs().max()) <= _GRADIENT:
            return head
        direction = _newton(rows, probs, gradient, penalty, gram)
        slope = float((gradient * direction).sum())
        head = _line_search(examples, head, direction, slope, strength)
    size = float(gradient.abs().max())
    log.warning("the probe of strength %g stopped at a gradient of %.1e", strength, size)
    return head


def objective(
    examples: Examples, head: Float[Tensor, "width+1 classes"], strength: float
) -> Float[Tensor, ""]:
    """Mean cross-entropy of the head plus its L2 penalty."""
    loss = F.cross_entropy(logits_of(examples.features, head), examples.target)
    return loss + strength / 2 * head[:-1].square().sum()


def logits_of(
    features: Float[Tensor, "samples width"], head: Float[Tensor, "width+1 classes"]
) -> Float[Tensor, "samples classes"]:
    """Logits ``x W + b``."""
    return features @ head[:-1] + head[-1]


def _newton(rows: Tensor, probs: Tensor, gradient: Tensor, penalty: Tensor, gram: Tensor) -> Tensor:
    """Direction ``d`` of ``H d = -g``, solved the better the smaller the gradient is."""

    def hessian(direction: Tensor) -> Tensor:
        change = rows @ direction
        change = probs * (change - (probs * change).sum(1, keepdim=True))
        return rows.T @ change / len(rows) + penalty * direction

    # H without the differences between samples and classes: features that are large or depend on
    # each other, which is what slows conjugate gradients down, are the same in both.
    weight = (probs * (1 - probs)).mean().clamp(min=1e-9)
    ridge = penalty.flatten().clamp(min=1e-12).diag()
    factor = torch.linalg.cholesky(weight * gram + ridge)
    size = float(gradient.norm())
    return _solve(hessian, lambda v: torch.cholesky_solve(v, factor), -gradient, size)


def _solve(
    hessian: Callable[[Tensor], Tensor],
    precondition: Callable[[Tensor], Tensor],
    right: Tensor,
    size: float,
) -> Tensor:
    """Conjugate gradients with a preconditioner, until the residual is small beside ``size``."""
    solution = torch.zeros_like(right)
    residual, direction = right, precondition(right)
    product = (residual * direction).sum()
    enough = min(0.1, size**0.5) * size
    for _ in range(_INNER_STEPS):
        image = hessian(direction)
        step = product / (direction * image).sum().clamp(min=1e-300)
        solution = solution + step * direction
        residual = residual - step * image
        if float(residual.norm()) <= enough:
            break
        scaled = precondition(residual)
        before, product = product, (residual * scaled).sum()
        direction = scaled + product / before * direction
    return solution


def _line_search(
    examples: Examples, head: Tensor, direction: Tensor, slope: float, strength: float
) -> Tensor:
    """The head after the longest of the steps 1, 1/2, 1/4 ... that lowers the objective enough."""
    before, length = float(objective(examples, head, strength)), 1.0
    for _ in range(_HALVINGS):
        moved = head + length * direction
        bound = before + _DECREASE * length * slope + _ROUNDING * abs(before)
        if float(objective(examples, moved, strength)) <= bound:
            return moved
        length /= 2
    return head
