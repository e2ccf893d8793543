"""Samples of fixed size without replacement, many rows at once and without looking at values.

A row is a population: its entries have weights, and 0 marks places outside of it. The numbers to
draw from each row are a tensor too, so that nothing waits for the device.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def draw_successive(
    weights: Float[Tensor, "rows units"],
    counts: Int[Tensor, " rows"],
    uniform: Float[Tensor, "rows units"],
) -> Bool[Tensor, "rows units"]:
    """Draws ``counts`` entries of each row one by one, each in proportion to the remaining weights.

    The entries with the smallest ``e / w`` for exponential ``e``: the law of `torch.multinomial`
    without replacement. The probability that an entry is drawn has no closed form.

    Args:
        weights: Weights, not negative; only their ratios matter.
        counts: Number of entries to draw, at most that of positive weights of the row.
        uniform: Independent uniform numbers in [0, 1).
    """
    waits = torch.where(weights > 0, -torch.log1p(-uniform) / weights, torch.inf)
    first = torch.arange(weights.shape[1], device=weights.device) < counts[:, None]
    return torch.zeros_like(first).scatter(1, waits.argsort(dim=1), first)


def inclusion_probabilities(
    weights: Float[Tensor, "rows units"], counts: Int[Tensor, " rows"]
) -> Float[Tensor, "rows units"]:
    """``pi = min(1, c w)``, with ``c`` such that each row sums to ``counts``; float64.

    With the k largest at 1, ``c = (n - k) / (sum of the others)``; k is the smallest for which that
    makes no other exceed 1.

    Args:
        weights: Weights, not negative and not all 0; only their ratios matter.
        counts: ``n``, at most the number of positive weights of the row.
    """
    weights = weights.double()
    ranked = weights.sort(dim=1, descending=True).values
    tails = ranked.flip(1).cumsum(1).flip(1)
    remaining = counts[:, None] - torch.arange(weights.shape[1], device=weights.device)
    capped = (remaining * ranked > tails).sum(1, keepdim=True)
    scale = remaining.gather(1, capped) / tails.gather(1, capped)
    return (scale * weights).clamp(max=1)


def draw_systematic(
    probabilities: Float[Tensor, "rows units"], start: Float[Tensor, " rows"]
) -> Bool[Tensor, "rows units"]:
    """Draws each entry with its probability; the number drawn is the sum of the row.

    Entries lie side by side on a line, each as long as its probability; those are drawn that hold
    one of the points ``start, start + 1, ...`` (Madow, 1949).

    Args:
        probabilities: Probabilities in [0, 1], whose rows sum to whole numbers; float64.
        start: Uniform numbers in [0, 1); float64.
    """
    points = (probabilities.cumsum(1) - start[:, None]).ceil()
    return points.diff(dim=1, prepend=torch.zeros_like(points[:, :1])) > 0
