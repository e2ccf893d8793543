"""Whether two runs ended alike, bit for bit."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import BEST, CHECKPOINT
from mmtrain.training.run import LEDGER, METRICS
from mmtrain.training.train import RESULT

# Fields of the metrics that come from a clock.
_TIMES: Final = ("seconds", "samples_per_s", "scoring_seconds", "data_wait", "system")
# The meter sums times. From Python's own generator nothing of ours draws, but checkers of types do.
_NOISE: Final = ("meter", "generators/random")


def difference(one: Path, other: Path) -> str | None:
    """First difference between two finished runs, as a sentence; None if there is none.

    Args:
        one: Folder of a run.
        other: Folder of the run that is compared with it.
    """
    for file in (CHECKPOINT, BEST):
        if found := checkpoint_difference(one / file, other / file):
            return found
    for mine, theirs in zip(_lines(one), _lines(other), strict=True):
        for name, value in mine.items():
            if value != theirs.get(name):
                return f"{name} differs in epoch {mine['epoch']}: {value}, {theirs.get(name)}"
    for path in sorted((one / LEDGER).rglob("*.npy")):
        place = path.relative_to(one)
        if not np.array_equal(np.load(path), np.load(other / place)):
            return f"the visits differ in {place}"
    results = [json.loads((folder / RESULT).read_text("utf-8")) for folder in (one, other)]
    return None if results[0]["test"] == results[1]["test"] else "the results on test differ"


def checkpoint_difference(one: Path, other: Path, *left_out: str) -> str | None:
    """First difference between two checkpoints, as a sentence; None if there is none.

    Args:
        one: File of a checkpoint.
        other: File of the checkpoint that is compared with it.
        left_out: Keys of the checkpoint that may differ.
    """
    mine, theirs = (_leaves(checkpoint.load(path)) for path in (one, other))
    for leaves in (mine, theirs):
        for name in [n for n in leaves if n.startswith((*_NOISE, *left_out))]:
            del leaves[name]
    if list(mine) != list(theirs):
        names = sorted(set(mine).symmetric_difference(theirs)) or ["an order"]
        return f"only one {one.name} has {', '.join(names)}"
    differing = [name for name, value in mine.items() if not _equal(value, theirs[name])]
    return f"{differing[0]} differs in {one.name}" if differing else None


def _leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Every leaf of a checkpoint by its path, such as ``model/fusion.weight``."""
    if not isinstance(value, Mapping):
        return {name: value}
    leaves: dict[str, Any] = {}
    for key, each in value.items():
        leaves |= _leaves(each, f"{name}/{key}" if name else str(key))
    return leaves


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    return str(one) == str(other)  # NaN is not itself, and lists hold tensors.


def _lines(folder: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / METRICS).read_text("utf-8").splitlines())
    return [{k: v for k, v in line.items() if k not in _TIMES} for line in lines]
