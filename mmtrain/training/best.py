"""The epoch that is best on val so far."""

from collections.abc import Mapping
from typing import Any

from mmtrain.tasks.measures import rank


def is_better(val: Mapping[str, Any] | None, best: Mapping[str, Any], select: str) -> bool:
    """Whether measures on val beat those of the best epoch; the later one where there is no val.

    Where ``select`` is the same, the loss decides; where that is the same too, the earlier epoch.

    Args:
        val: Measures on val; None without such a split.
        best: ``epoch`` and ``val`` of the best epoch so far; empty before the first.
        select: Name of the measure that decides.
    """
    if val is None or not best:
        return True
    old: Mapping[str, Any] = best["val"]
    ranks = [(rank(select, each[select]), -each["loss"]) for each in (val, old)]
    return ranks[0] > ranks[1]


def watched_loss(line: Mapping[str, Any]) -> float:
    """Loss by which a schedule judges an epoch: on val, if there is such a split."""
    loss: float = line["val"]["loss"] if line["val"] else line["train_loss"]
    return loss
