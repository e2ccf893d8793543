"""How a curriculum's scores moved, and what it showed: equations over (epochs, n) columns."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Table = NDArray[Any]
Floats = NDArray[np.float64]


def quantiles(rows: Iterable[Table], shares: Sequence[float]) -> Floats:
    """(epochs, k) quantiles of each row, without what is not finite; NaN where nothing is."""
    found = []
    for row in rows:
        known = row[np.isfinite(row)].astype(np.float64)
        found.append(np.quantile(known, shares) if len(known) else np.full(len(shares), np.nan))
    return np.array(found)


def rank_correlation(one: Table, other: Table) -> float:
    """Spearman's, over the samples that have both: the correlation of ranks, ties averaged.

    NaN where all of one are equal, or fewer than two samples have both.
    """
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 2:
        return float("nan")
    ranks = [rankdata(values[both]) for values in (one, other)]
    centred = [rank - rank.mean() for rank in ranks]
    scale = np.sqrt(np.prod([float(c @ c) for c in centred]))
    return float(centred[0] @ centred[1] / scale) if scale else float("nan")


def consecutive(values: Table) -> Floats:
    """(epochs,) `rank_correlation` of each row with the one before; NaN for the first."""
    found = [rank_correlation(a, b) for a, b in pairwise(values)]
    return np.array([np.nan, *found])


def in_use(visits: Table) -> Floats:
    """(epochs,) share of the samples that each epoch visited."""
    found: Floats = (visits > 0).mean(1)
    return found


def seen(visits: Table) -> Floats:
    """(epochs,) share of the samples that were visited up to and with each epoch."""
    so_far = np.zeros(visits.shape[1], bool)
    shares = []
    for row in visits:
        so_far |= row > 0
        shares.append(so_far.mean())
    return np.array(shares)


def balance(visits: Table, labels: NDArray[np.int64], classes: int) -> Floats:
    """(classes, epochs) share of a class among the visits over its share among the samples.

    1 where a class is shown as often as if the order were uniform; NaN for a class without samples.
    """
    samples = np.bincount(labels, minlength=classes).astype(np.float64)
    shown = np.stack([np.bincount(labels, weights=row, minlength=classes) for row in visits], 1)
    due = samples / max(samples.sum(), 1)
    due[due == 0] = np.nan
    ratio: Floats = shown / np.maximum(shown.sum(0), 1) / due[:, None]
    return ratio


def age(measured: Table) -> Iterator[Floats]:
    """For each epoch (n,) epochs since each sample was last judged; NaN where it never was."""
    for epoch, row in enumerate(measured):
        yield np.where(row >= 0, epoch - row.astype(np.float64), np.nan)


def moved(first: Table, last: Table, bins: int) -> tuple[Floats, Floats]:
    """Samples by their place among the first scores and among the last.

    Returns:
        (bins, bins) counts, rows by ``first`` from the highest down, columns by ``last`` upwards;
        and the (bins + 1,) edges that both share.
    """
    both = np.isfinite(first) & np.isfinite(last)
    one, other = first[both].astype(np.float64), last[both].astype(np.float64)
    every = np.concatenate([one, other, [0.0]] if not both.any() else [one, other])
    low, high = float(every.min()), float(every.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, edges, _ = np.histogram2d(one, other, bins=bins, range=((low, high), (low, high)))
    return counts[::-1], edges
