"""Samples of fixed size without replacement, many rows at once and without looking at values.

A row is a population: its entries have weights, and 0 marks places that are not in it. How many are
drawn from each row is a tensor too, so that nothing waits for the device.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def successive(
    weights: Float[Tensor, "rows units"],
    counts: Int[Tensor, " rows"],
    uniform: Float[Tensor, "rows units"],
) -> Bool[Tensor, "rows units"]:
    """Draws ``counts`` of each row one after the other, each in proportion to what is left.

    The entries with the smallest ``e / w`` for exponential ``e``: the law of `torch.multinomial`
    without replacement. The probability that an entry is drawn has no closed form.

    Args:
        weights: Not negative; scale does not matter.
        counts: At most the number of positive weights of the row.
        uniform: In [0, 1), independent.
    """
    waited = torch.where(weights > 0, -torch.log1p(-uniform) / weights, torch.inf)
    first = torch.arange(weights.shape[1], device=weights.device) < counts[:, None]
    return torch.zeros_like(first).scatter(1, waited.argsort(dim=1), first)


def inclusion(
    weights: Float[Tensor, "rows units"], counts: Int[Tensor, " rows"]
) -> Float[Tensor, "rows units"]:
    """``pi = min(1, c w)``, with ``c`` of each row such that it sums to ``counts``; float64.

    With the k largest at 1, ``c = (n - k) / (sum of the others)``; k is the smallest for which that
    makes no other exceed 1.

    Args:
        weights: Not negative, not all 0; scale does not matter.
        counts: n, at most the number of positive weights of the row.
    """
    weights = weights.double()
    ranked = weights.sort(dim=1, descending=True).values
    tails = ranked.flip(1).cumsum(1).flip(1)
    left = counts[:, None] - torch.arange(weights.shape[1], device=weights.device)
    capped = (left * ranked > tails).sum(1, keepdim=True)
    scale = left.gather(1, capped) / tails.gather(1, capped)
    return (scale * weights).clamp(max=1)


def systematic(
    probabilities: Float[Tensor, "rows units"], start: Float[Tensor, " rows"]
) -> Bool[Tensor, "rows units"]:
    """Draws each entry with its probability, and as many of each row as these sum to.

    Entries lie side by side on a line, each as long as its probability; those are drawn that hold
    one of the points ``start, start + 1, ...`` (Madow, 1949).

    Args:
        probabilities: In [0, 1], each row summing to a whole number; float64.
        start: In [0, 1), uniform; float64.
    """
    points = (probabilities.cumsum(1) - start[:, None]).ceil()
    return points.diff(dim=1, prepend=torch.zeros_like(points[:, :1])) > 0
