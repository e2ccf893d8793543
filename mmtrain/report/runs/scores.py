"""Statistics of a curriculum's scores and of the samples that it showed.

Columns have a row for each epoch and a place for each sample: (epochs, n).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Table = NDArray[Any]
Floats = NDArray[np.float64]


def quantiles(rows: Iterable[Table], shares: Sequence[float]) -> Floats:
    """Quantiles (epochs, k) of the finite values of each row; NaN for a row without any."""
    by_row = []
    for row in rows:
        known = row[np.isfinite(row)].astype(np.float64)
        by_row.append(np.quantile(known, shares) if len(known) else np.full(len(shares), np.nan))
    return np.array(by_row)


def rank_correlation(one: Table, other: Table) -> float:
    """Spearman's rank correlation over the samples that have both values, ties averaged.

    NaN where all values of one are equal, or fewer than two samples have both.
    """
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 2:
        return float("nan")
    ranks = [rankdata(values[both]) for values in (one, other)]
    centred = [rank - rank.mean() for rank in ranks]
    scale = np.sqrt(np.prod([float(c @ c) for c in centred]))
    return float(centred[0] @ centred[1] / scale) if scale else float("nan")


def consecutive_correlation(values: Table) -> Floats:
    """(epochs,) `rank_correlation` of each row with the one before; NaN for the first."""
    return np.array([np.nan, *(rank_correlation(a, b) for a, b in pairwise(values))])


def share_in_epoch(visits: Table) -> Floats:
    """(epochs,) share of the samples that each epoch visited."""
    shares: Floats = (visits > 0).mean(1)
    return shares


def share_so_far(visits: Table) -> Floats:
    """(epochs,) share of the samples that were visited by the end of each epoch."""
    so_far = np.zeros(visits.shape[1], bool)
    shares = []
    for row in visits:
        so_far |= row > 0
        shares.append(so_far.mean())
    return np.array(shares)


def balance(visits: Table, labels: NDArray[np.int64], classes: int) -> Floats:
    """(classes, epochs) share of a class in the visits, divided by its share in the samples.

    It is 1 for a class that is shown as often as in uniform order, and NaN for a class without
    samples.
    """
    samples = np.bincount(labels, minlength=classes).astype(np.float64)
    shown = np.stack([np.bincount(labels, weights=row, minlength=classes) for row in visits], 1)
    due = samples / max(samples.sum(), 1)
    due[due == 0] = np.nan
    ratio: Floats = shown / np.maximum(shown.sum(0), 1) / due[:, None]
    return ratio


def age(measured: Table) -> Iterator[Floats]:
    """Yields for each epoch (n,) epochs since each sample was last scored; NaN for never."""
    for epoch, row in enumerate(measured):
        yield np.where(row >= 0, epoch - row.astype(np.float64), np.nan)


def joint_histogram(first: Table, last: Table, bins: int) -> tuple[Floats, Floats]:
    """Counts samples by their first score and by their last.

    Returns:
        (bins, bins) counts, with rows from the highest ``first`` score down and columns from the
        lowest ``last`` score up; and the (bins + 1,) edges that both axes share.
    """
    both = np.isfinite(first) & np.isfinite(last)
    one, other = first[both].astype(np.float64), last[both].astype(np.float64)
    every = np.concatenate([one, other, [0.0]] if not both.any() else [one, other])
    low, high = float(every.min()), float(every.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, edges, _ = np.histogram2d(one, other, bins=bins, range=((low, high), (low, high)))
    return counts[::-1], edges
