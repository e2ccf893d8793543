"""RUN/scores.h5: what the curriculum went by, a row an epoch, by sample key; outlives the run."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from mmtrain.data import SampleOrder, ShardedDataset
from mmtrain.errors import ConfigError, DataError

SCORES: Final = "scores.h5"
_KEY: Final = "key"
_VISITS: Final = "visits"


def write(
    folder: Path,
    epoch: int,
    dataset: ShardedDataset,
    ids: NDArray[np.int64],
    row: Mapping[str, NDArray[Any]],
    order: SampleOrder,
) -> None:
    """Adds the row of ``epoch``; rows of it and of later epochs that are there give way.

    There is the old file or the new one, never a half.

    Args:
        folder: RUN.
        epoch: From 0.
        dataset: Gives the keys.
        ids: (n,) samples that epochs are made of.
        row: Name to (n,) values.
        order: Its visits are counted.
    """
    path, aside = folder / SCORES, folder / f".{SCORES}.partial"
    if path.exists():
        shutil.copyfile(path, aside)
    counts = np.bincount(order.ids, minlength=len(dataset))[ids].astype(np.uint32)
    with h5py.File(aside, "r+" if path.exists() else "w") as file:
        if _KEY not in file:
            file[_KEY] = dataset.index.key[ids]
        for name, values in {**row, _VISITS: counts}.items():
            if name not in file:
                file.create_dataset(
                    name,
                    shape=(0, len(ids)),
                    maxshape=(None, len(ids)),
                    dtype=values.dtype,
                    chunks=(1, len(ids)),
                )
            rows = file[name]
            rows.resize(epoch + 1, axis=0)
            rows[epoch] = values
    with aside.open("rb") as written:
        os.fsync(written.fileno())
    aside.rename(path)


def read(path: Path) -> dict[str, NDArray[Any]]:
    """All of a file: ``key`` (n,), and the others (epochs, n).

    Raises:
        ConfigError: No such file.
        DataError: Not such a file.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file; a run with a scoring curriculum writes {SCORES}")
    try:
        with h5py.File(path, "r") as file:
            found = {name: np.asarray(file[name]) for name in file}
    except OSError as error:
        raise DataError(f"{path}: not a file of scores: {error}") from error
    if _KEY not in found or _VISITS not in found:
        raise DataError(f"{path}: not a file of scores; it holds {', '.join(found) or 'nothing'}")
    return found


def last(path: Path, dataset: ShardedDataset, ids: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The last row of another run's file, for ``ids``: name to (n,) values, by key.

    Raises:
        DataError: A sample has no score there.
    """
    found = read(path)
    keys = found.pop(_KEY)
    order = np.argsort(keys)
    wanted = np.asarray(dataset.index.key[ids])
    at = order[np.searchsorted(keys, wanted, sorter=order).clip(max=len(keys) - 1)]
    if len(missing := np.flatnonzero(keys[at] != wanted)):
        raise DataError(
            f"{path}: {len(missing)} of {len(ids)} samples have no score there, such as "
            f"{wanted[missing[0]].decode()}; it was written for other data"
        )
    return {name: values[-1][at] for name, values in found.items()}
