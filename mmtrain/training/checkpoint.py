"""Checkpoint files: of tensors and plain containers, written aside and renamed."""

import pickle
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from mmtrain.errors import DataError
from mmtrain.files import replace

CHECKPOINT: Final = "checkpoint.pt"
BEST: Final = "best.pt"

FORMAT: Final = 1


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Writes ``state`` to ``path``: there is the old file or the new one, never a half."""
    replace(path, lambda file: torch.save({"format": FORMAT, **state}, file))


def load(path: Path) -> dict[str, Any]:
    """Reads a file of `save`, with its tensors on the CPU; no pickled code is run.

    Raises:
        DataError: The file is no checkpoint of this format.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: not a checkpoint: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DataError(f"{path}: not a checkpoint of format {FORMAT}; written by another version?")
    return state


def seed_all(seed: int) -> None:
    """Seeds every generator of the process."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def generators(own: torch.Generator) -> dict[str, Any]:
    """State of every generator of the process, and of ``own``."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    words = np.array(keys, np.uint32)
    return {
        "own": own.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "random": random.getstate(),
        "numpy": (kind, torch.from_numpy(words), position, has_gauss, gauss),
    }


def restore_generators(saved: Mapping[str, Any], own: torch.Generator) -> None:
    """Sets the generators to a state of `generators`; of GPUs, as many as there are here."""
    own.set_state(saved["own"])
    torch.set_rng_state(saved["torch"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(saved["cuda"][: torch.cuda.device_count()])
    random.setstate(saved["random"])
    kind, keys, *rest = saved["numpy"]
    np.random.set_state((kind, keys.numpy(), *rest))
