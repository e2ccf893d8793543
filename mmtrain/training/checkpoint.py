"""Checkpoint files: of tensors and plain containers, written aside and renamed."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from mmprep.storage.refusals import disk_refusal
from mmtrain.errors import DataError, MmtrainError
from mmtrain.files import replace
from mmtrain.training.digest import is_whole, write_sealed

CHECKPOINT: Final = "checkpoint.pt"
BEST: Final = "best.pt"

FORMAT: Final = 1
_REMEDY: Final = "take it from a copy of the run, or train again in a new folder"


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Writes ``state`` to ``path``: there is the old file or the new one, never a half.

    The old file stays until the new one has been read back and found whole.

    Raises:
        MmtrainError: The disk refused, or does not give back what was written.
    """
    content = {"format": FORMAT, **state}
    replace(path, lambda file: write_sealed(file, lambda to: torch.save(content, to)), _prove)


def load(path: Path) -> dict[str, Any]:
    """Reads a file of `save`, with its tensors on the CPU; no pickled code is run.

    Raises:
        DataError: The file is damaged, or no checkpoint of this format.
    """
    try:
        whole = path.is_file() and is_whole(path)
        if not whole:
            raise DataError(f"{path}: not a checkpoint, or damaged; {_REMEDY}")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise MmtrainError(f"cannot read {path}: {disk_refusal(error)}") from error
    # torch raises nearly every class over a file that somebody else made.
    except Exception as error:
        if isinstance(error, DataError):
            raise
        text = str(error).partition("\n")[0]
        raise DataError(f"{path}: not a checkpoint ({text:.200}); {_REMEDY}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DataError(f"{path}: not a checkpoint of format {FORMAT}; written by another version?")
    return state


@contextmanager
def naming_misfits(path: Path) -> Iterator[None]:
    """Turns an error over the content of a checkpoint into one that names it.

    Raises:
        DataError: What it holds does not fit the run.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        # Memory runs short on a whole checkpoint, too; its own error says what to do.
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise
        lacks = "lacks " if isinstance(error, KeyError) else ""
        text = " ".join(str(error).split())
        raise DataError(f"{path}: does not fit the run ({lacks}{text:.300}); {_REMEDY}") from error


def _prove(aside: Path) -> None:
    if not is_whole(aside):
        raise MmtrainError(f"{aside}: the disk does not give back what was written to it")


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
