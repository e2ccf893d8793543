"""Figures of a run as loggers take them: one number under each name."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmtrain.tasks.measures import shown


def figures(line: Mapping[str, Any]) -> dict[str, float]:
    """Name to number of everything that a line of metrics.jsonl holds; infinite ones are left out.

    Example:
        >>> figures({"epoch": 0, "lr": 0.1, "train_loss": 2.0, "seconds": 3.0, "val": None})
        {'train/loss': 2.0, 'train/lr': 0.1, 'speed/seconds': 3.0}
    """
    named = {
        "train/loss": line.get("train_loss"),
        "train/lr": line.get("lr"),
        "speed/seconds": line.get("seconds"),
        "speed/samples_per_s": line.get("samples_per_s"),
        "speed/data_wait": line.get("data_wait"),
        **{f"system/{name}": value for name, value in line.get("system", {}).items()},
        **{_logged(name): value for name, value in line.get("logged", {}).items()},
        **dict(measured("val", line["val"] or {})),
    }
    return {name: value for name, value in named.items() if value is not None and _finite(value)}


def measured(split: str, measures: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Name and number of the measures on a split, fused and by modality."""
    heads = {split: measures}
    heads |= {f"{split}.{m}": own for m, own in measures.get("modalities", {}).items()}
    for head, own in heads.items():
        for name in (*shown(own), "loss"):
            value = own.get(name)
            if value is not None and _finite(value):
                yield f"{head}/{name}", value


def whole_lines(metrics: Path) -> list[dict[str, Any]]:
    """Lines of epochs, without one that is half written; trials do not count.

    Args:
        metrics: The file metrics.jsonl.
    """
    if not metrics.exists():
        return []
    lines = [json.loads(text) for text in metrics.read_bytes().split(b"\n")[:-1]]
    return [line for line in lines if "trial" not in line]


def _logged(name: str) -> str:
    """``k.audio``, a quantity by modality, becomes ``k/audio``; others stand under ``method``."""
    quantity, _, which = name.partition(".")
    return f"{quantity}/{which}" if which else f"method/{quantity}"


def _finite(value: float) -> bool:
    return math.isfinite(value)
