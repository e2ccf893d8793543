"""Shapley values: each modality's share of what a set of modalities is worth."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial

from jaxtyping import Float
from torch import Tensor


def subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """The ``2^M - 1`` sets of at least one modality, each in the order of ``modalities``."""
    sizes = range(1, len(modalities) + 1)
    return [chosen for size in sizes for chosen in combinations(modalities, size)]


def shapley(
    values: Mapping[tuple[str, ...], Float[Tensor, "*shape"]], modalities: Sequence[str]
) -> dict[str, Float[Tensor, "*shape"]]:
    """Modality to its share; the shares sum to the value of all modalities.

    ``Phi^m = sum_S |S|! (M - |S| - 1)! / M! (v(S + m) - v(S))`` over the sets ``S`` without ``m``,
    with ``v = 0`` of the empty set. Gradients flow through it.

    Args:
        values: Set to ``v``, for each of `subsets`.
        modalities: Names, in the order of the sets.
    """
    count = len(modalities)
    shares = {}
    for modality in modalities:
        terms = []
        for chosen in subsets(modalities):
            if modality in chosen:
                weight = _weight(len(chosen) - 1, count)
                others = tuple(m for m in chosen if m != modality)
                gain = values[chosen] - values[others] if others else values[chosen]
                terms.append(weight * gain)
        shares[modality] = sum(terms[1:], terms[0])
    return shares


def _weight(others: int, count: int) -> float:
    return factorial(others) * factorial(count - others - 1) / factorial(count)
