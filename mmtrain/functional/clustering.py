"""Clusters of features, and how well they agree with classes."""

from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

_ROUNDS: Final = 100  # Lloyd's algorithm has come to rest long before on features of a network.


def min_max(rows: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
    """Rows with each column stretched to [-1, 1]; a column that is constant becomes -1."""
    low, high = rows.amin(0), rows.amax(0)
    spread = (high - low).clamp(min=torch.finfo(rows.dtype).tiny)
    return (rows - low) / spread * 2 - 1


def kmeans(
    rows: Float[Tensor, "n width"], clusters: int, generator: torch.Generator
) -> Int[Tensor, " n"]:
    """Cluster of each row, by Lloyd's algorithm from centres that k-means++ draws.

    Arthur & Vassilvitskii, SODA 2007: a centre is drawn with probability proportional to the
    squared distance from the nearest that is there. A cluster that loses all rows keeps its centre.

    Args:
        rows: Rows, of which there is at least one.
        clusters: Number of clusters; with fewer rows some stay empty.
        generator: Generator on the CPU; ``clusters`` numbers are drawn.
    """
    draws = torch.rand(clusters, generator=generator, dtype=torch.float64)
    centres = _spread_centres(rows, draws)
    nearest = _squared(rows, centres).argmin(1)
    for _ in range(_ROUNDS):
        own = torch.nn.functional.one_hot(nearest, clusters).to(rows.dtype)
        sizes = own.sum(0)[:, None]
        centres = torch.where(sizes > 0, own.T @ rows / sizes.clamp(min=1), centres)
        before, nearest = nearest, _squared(rows, centres).argmin(1)
        if torch.equal(before, nearest):
            break
    return nearest


def purity(labels: Int[Tensor, " n"], clusters: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """``P = 1/n sum_k max_c |cluster k and class c|``: the share that is in its cluster's class.

    Between 1 / n and 1; with one cluster, the share of the largest class.
    """
    width = int(labels.max()) + 1
    pairs = torch.bincount(clusters * width + labels, minlength=(int(clusters.max()) + 1) * width)
    return pairs.view(-1, width).amax(1).sum() / len(labels)


def _spread_centres(
    rows: Float[Tensor, "n width"], draws: Float[Tensor, " clusters"]
) -> Float[Tensor, "clusters width"]:
    centres: list[Tensor] = []
    chances = torch.ones(len(rows), dtype=torch.float64)
    for draw in draws:
        if not bool(chances.sum()):  # Fewer distinct rows than clusters.
            chances = torch.ones_like(chances)
        sums = chances.cumsum(0)
        place = int(torch.searchsorted(sums, draw * sums[-1], right=True).clamp(max=len(rows) - 1))
        centres.append(rows[place])
        # Exact, so that a row which is a centre already is not drawn again.
        distances = (rows - rows[place]).square().sum(1).double().cpu()
        chances = torch.minimum(chances, distances) if len(centres) > 1 else distances
    return torch.stack(centres)


def _squared(
    rows: Float[Tensor, "n width"], centres: Float[Tensor, "clusters width"]
) -> Float[Tensor, "n clusters"]:
    """Squared distances."""
    return torch.cdist(rows, centres).square()
