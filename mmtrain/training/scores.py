"""RUN/scores.h5: what a curriculum ordered the samples by, a row an epoch, by sample key.

The rows lie in RUN/scores/, a file an epoch, so that an epoch writes its own row and no other:
copying all of them each time would come to gigabytes in a long run. scores.h5 itself is a view
(virtual datasets of HDF5), which h5py shows as whole datasets: ``key`` (n,), and the others
(epochs, n). Files of earlier versions hold the datasets themselves, and are read alike.

Rows are replaced whole, and the view after them, so a kill at any moment leaves a readable file
with all rows but perhaps the last.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from mmtrain import files
from mmtrain.data import SampleOrder, ShardedDataset
from mmtrain.errors import ConfigError, DataError

SCORES: Final = "scores.h5"
_ROWS: Final = "scores"
_KEYS: Final = "key.h5"
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

    Args:
        folder: RUN.
        epoch: Epoch, from 0.
        dataset: Shards, which know the keys.
        ids: (n,) samples that epochs are made of.
        row: Name to (n,) values.
        order: Order of the epoch, whose visits are counted.
    """
    rows = folder / _ROWS
    if not rows.exists():
        rows.mkdir()
        files.sync_folder(folder)
    if not (rows / _KEYS).exists():
        _replace(rows / _KEYS, partial(_fill, columns={_KEY: dataset.index.key[ids]}))
    _split(folder / SCORES, rows)
    counts = np.bincount(order.ids, minlength=len(dataset))[ids].astype(np.uint32)
    columns = {**row, _VISITS: counts}
    _replace(rows / _row_name(epoch), partial(_fill, columns=columns))
    _replace(folder / SCORES, partial(_view, epochs=epoch + 1, columns=columns))
    for path in rows.glob("epoch-*.h5"):
        if path.name > _row_name(epoch):
            path.unlink()


def read(path: Path) -> dict[str, NDArray[Any]]:
    """All of a file: ``key`` (n,), and the others (epochs, n).

    Raises:
        ConfigError: No such file.
        DataError: Not such a file, or one without its rows.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file; a run with a scoring curriculum writes {SCORES}")
    try:
        with h5py.File(path, "r") as file:
            # HDF5 itself shows zeros in the place of a row that is gone.
            if gone := [name for name in _sources(file) if not (path.parent / name).exists()]:
                raise DataError(
                    f"{path}: lacks {gone[0]}; the folder {_ROWS} belongs to it, copy both"
                )
            columns = {name: np.asarray(file[name]) for name in file}
    except OSError as error:
        raise DataError(f"{path}: not a file of scores: {error}") from error
    if _KEY not in columns or _VISITS not in columns:
        names = ", ".join(columns) or "nothing"
        raise DataError(f"{path}: not a file of scores; it holds {names}")
    return columns


def _sources(file: h5py.File) -> Iterator[str]:
    """Files that a view shows, relative to its folder; none for a file that holds its rows."""
    for name in file:
        link = file.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield link.filename
        elif file[name].is_virtual:
            yield from (source.file_name for source in file[name].virtual_sources())


def _split(path: Path, rows: Path) -> None:
    """Writes the rows of a file of an earlier version, which holds them itself, as files."""
    if not path.exists():
        return
    with h5py.File(path, "r") as file:
        if not next(_sources(file), None) and _VISITS in file:
            for epoch in range(len(file[_VISITS])):
                columns = {name: file[name][epoch] for name in file if name != _KEY}
                _replace(rows / _row_name(epoch), partial(_fill, columns=columns))


def _replace(path: Path, fill: Callable[[h5py.File], None]) -> None:
    """Writes an HDF5 file whole, or not at all."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        fill(file)
    files.replace(path, lambda out: out.write(memory.getbuffer()))


def _fill(file: h5py.File, columns: Mapping[str, NDArray[Any]]) -> None:
    for name, values in columns.items():
        file[name] = values


def _view(file: h5py.File, epochs: int, columns: Mapping[str, NDArray[Any]]) -> None:
    file[_KEY] = h5py.ExternalLink(f"{_ROWS}/{_KEYS}", _KEY)
    for name, values in columns.items():
        layout = h5py.VirtualLayout((epochs, *values.shape), values.dtype)
        for epoch in range(epochs):
            source = f"{_ROWS}/{_row_name(epoch)}"
            layout[epoch] = h5py.VirtualSource(source, name, values.shape, values.dtype)
        file.create_virtual_dataset(name, layout)


def _row_name(epoch: int) -> str:
    return f"epoch-{epoch:05d}.h5"


def last(path: Path, dataset: ShardedDataset, ids: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Last row of another run's file, for ``ids``: name to (n,) values, found by key.

    Raises:
        DataError: A sample has no score there.
    """
    columns = read(path)
    keys = columns.pop(_KEY)
    order = np.argsort(keys)
    wanted = np.asarray(dataset.index.key[ids])
    at = order[np.searchsorted(keys, wanted, sorter=order).clip(max=len(keys) - 1)]
    if len(missing := np.flatnonzero(keys[at] != wanted)):
        raise DataError(
            f"{path}: {len(missing)} of {len(ids)} samples have no score there, such as "
            f"{wanted[missing[0]].decode()}; it was written for other data"
        )
    return {name: values[-1][at] for name, values in columns.items()}
