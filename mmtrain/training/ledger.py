"""The ledger: which samples each epoch has visited, in order, as `.npy` files of sample ids."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from mmprep.format.damage import naming_damage
from mmprep.format.npy import parse_array
from mmtrain.files import naming_refusals, sync_folder

_ITEM: Final = np.dtype("<i8").itemsize
_NAME: Final = re.compile(r"epoch-\d{5}\.rank\d{1,6}\.npy", re.ASCII)
_REMEDY: Final = "take it from a copy of the run, or train again in a new folder"


class Ledger:
    """Appends visits. What `flush` has returned for survives a kill of this process or machine.

    The file is at any moment a readable `.npy`: its header, which numpy leaves room to grow, counts
    the visits of the last flush, and what a killed process wrote behind them is not read.

    Args:
        folder: Folder of the files; made when it is first written to.
        rank: Number of this rank; each has files of its own.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self._folder, self._rank = folder, rank
        self._file: BinaryIO | None = None
        self._path, self._count = folder, 0

    def begin(self, epoch: int, kept: int = 0) -> None:
        """Starts the file of ``epoch``, or goes on behind its first ``kept`` visits."""
        self.close()
        self._path = path = self._folder / name(epoch, self._rank)
        new = not path.exists()
        self._count = min(kept, len(read(path)))
        with naming_refusals(path):
            self._folder.mkdir(parents=True, exist_ok=True)
            # What is kept is not written anew: a kill at this moment must not lose it.
            self._file = path.open("r+b" if self._count else "wb")
            self._write_header()
            self._file.truncate(self._file.tell() + self._count * _ITEM)
            self.flush()
            if new:
                # A synced file may still be lost with its name.
                sync_folder(self._folder)
                sync_folder(self._folder.parent)

    def cut(self, epoch: int, kept: int) -> None:
        """Keeps the first ``kept`` visits of ``epoch``, and drops the rest."""
        self.begin(epoch, kept)
        self.close()

    @property
    def count(self) -> int:
        """Visits in the current file, flushed or not."""
        return self._count

    def record(self, ids: NDArray[np.int64]) -> None:
        """Appends visits."""
        with naming_refusals(self._path):
            self._opened().write(np.ascontiguousarray(ids, "<i8").tobytes())
        self._count += len(ids)

    def flush(self) -> None:
        """Brings all to the disk, and counts it."""
        if self._file is None:
            return
        file = self._file
        with naming_refusals(self._path):
            self._write_header()
            file.seek(0, os.SEEK_END)
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Flushes and closes the current file."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise ValueError("no epoch was begun")
        return self._file

    def _write_header(self) -> None:
        file = self._opened()
        file.seek(0)
        header = {"descr": "<i8", "fortran_order": False, "shape": (self._count,)}
        np.lib.format.write_array_header_1_0(file, header)


def name(epoch: int, rank: int = 0) -> str:
    """Name of the file of an epoch."""
    return f"epoch-{epoch:05d}.rank{rank}.npy"


def epoch_of(path: Path) -> int:
    """Epoch of a file."""
    return int(path.name[6:11])


def read(path: Path) -> NDArray[np.int64]:
    """(n,) samples of the visits in a file, in order; none where there is no such file."""
    if not path.exists():
        return np.empty(0, np.int64)
    with naming_damage(str(path), _REMEDY):
        if not path.is_file():
            raise ValueError("not a file")
        # What a killed process wrote behind the counted visits is not read.
        visited = parse_array(path.read_bytes(), more=True)
        if visited.dtype != np.dtype("<i8") or visited.ndim != 1:
            raise ValueError(f"holds {visited.dtype} of shape {visited.shape}")
        return np.array(visited, np.int64)


def rank_of(path: Path) -> int:
    """Rank of a file."""
    return int(path.name[len("epoch-00000.rank") : -len(".npy")])


def _is_ours(path: Path) -> bool:
    return _NAME.fullmatch(path.name) is not None


def rewind(folder: Path, epoch: int, counts: Sequence[int]) -> None:
    """Cuts ``epoch`` back to what each rank had visited, and drops later epochs.

    A resumed run visits the rest anew, perhaps with another number of ranks.

    Args:
        folder: Folder of the ledger.
        epoch: Epoch that goes on.
        counts: Visits of each rank in that epoch that count.
    """
    for path in filter(_is_ours, folder.glob("epoch-*.rank*.npy")):
        rank = rank_of(path)
        kept = counts[rank] if rank < len(counts) and epoch_of(path) == epoch else 0
        if epoch_of(path) >= epoch and not kept:
            path.unlink()
        elif epoch_of(path) == epoch:
            Ledger(folder, rank).cut(epoch, kept)
    if folder.exists():
        sync_folder(folder)


def visits(folder: Path, epoch: int, counts: Sequence[int] | None = None) -> NDArray[np.int64]:
    """(n,) visits of ``epoch``, one rank after the other.

    Args:
        folder: Folder of the ledger.
        epoch: Epoch, from 0.
        counts: Visits of each rank that count, its first ones; all by default.
    """
    paths = sorted(filter(_is_ours, folder.glob(f"epoch-{epoch:05d}.rank*.npy")), key=rank_of)
    parts = [
        read(path)[: None if counts is None else (*counts, *[0] * rank_of(path))[rank_of(path)]]
        for path in paths
    ]
    return np.concatenate([np.empty(0, np.int64), *parts])
