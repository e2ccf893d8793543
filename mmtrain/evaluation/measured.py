"""What was measured of a run before, and whether it is of the weights that the run has now."""

import hashlib
import json
from pathlib import Path
from typing import Any

from mmtrain.training.checkpoint import BEST


def weights_digest(folder: Path) -> str:
    """SHA-256 of the best weights of the run in ``folder``; empty where there are none."""
    path = folder / BEST
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_current(path: Path, folder: Path) -> dict[str, Any] | None:
    """Content of a file of measures, if it is whole and of the present weights; else None.

    Args:
        path: File of one JSON object, whose ``weights`` are a `weights_digest`.
        folder: Folder of the run.
    """
    try:
        report = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None  # It is measured again, which writes it anew.
    if not isinstance(report, dict) or not report.get("weights"):
        return None
    return report if report["weights"] == weights_digest(folder) else None
