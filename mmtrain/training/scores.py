"""RUN/scores.h5: what a curriculum ordered the samples by, a row an epoch, by sample key.

The rows lie in RUN/scores/, a file an epoch, so that an epoch writes its own row and no other:
copying all of them each time would come to gigabytes in a long run. scores.h5 itself is a view
(virtual datasets of HDF5), which h5py shows as whole datasets: ``key`` (n,), and the others
(epochs, n). Files of earlier versions hold the datasets themselves, and are read alike.

Rows are replaced whole, and the view after them, so a kill at any moment leaves a readable file
with all rows but perhaps the last.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from mmprep.format.hdf5 import opened, plain_table, read_table
from mmtrain import files
from mmtrain.data import SampleOrder, ShardedDataset
from mmtrain.errors import ConfigError, DataError

SCORES: Final = "scores.h5"
_ROWS: Final = "scores"
_KEYS: Final = "key.h5"
_KEY: Final = "key"
_VISITS: Final = "visits"
_REMEDY: Final = "take it from a copy of the run, or train again in a new folder"


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
        with files.naming_refusals(rows):
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
    with opened(path, "a file of scores", _REMEDY) as file:
        names, epochs = sorted(file), _epochs_shown(file)
        if _KEY not in names or _VISITS not in names:
            raise ValueError(f"it holds {', '.join(names) or 'nothing'}")
        columns = {name: _column(file, name) for name in names} if epochs is None else {}
    if epochs is not None:
        # Row by row, not through the view: HDF5 would follow its names to any file, and shows
        # zeros in the place of a row that is gone.
        columns = _read_rows(path, names, epochs)
    shape = columns[_VISITS].shape
    if shape[1:] != columns[_KEY].shape or any(
        values.shape != shape for name, values in columns.items() if name != _KEY
    ):
        raise DataError(f"{path}: its columns are not of one shape; it was damaged")
    return columns


def _epochs_shown(file: h5py.File) -> int | None:
    """Number of rows that a view shows; None for a file that holds its rows.

    Raises:
        ValueError: It shows other files than the rows of a run.
    """
    if file.id.links.get_info(_KEY.encode()).type == h5py.h5l.TYPE_HARD:
        return None
    if file.id.links.get_info(_VISITS.encode()).type != h5py.h5l.TYPE_HARD:
        raise ValueError(f"{_VISITS!r} is a link")
    # Its sources, of which the storage keeps the names, are not opened.
    stored = h5py.h5o.open(file.id, _VISITS.encode()).get_create_plist()
    if stored.get_layout() != h5py.h5d.VIRTUAL:
        raise ValueError(f"{_VISITS!r} is no view")
    shown = [stored.get_virtual_filename(i) for i in range(stored.get_virtual_count())]
    if shown != [f"{_ROWS}/{_row_name(epoch)}" for epoch in range(len(shown))]:
        raise ValueError("it shows other files than the rows of a run")
    return len(shown)


def _column(file: h5py.File, name: str) -> NDArray[Any]:
    kind, rank = ("S", 1) if name == _KEY else ("number", 2)
    return read_table(Path(file.filename), plain_table(file, name, kind, rank, chunked=True))


def _read_rows(path: Path, names: Sequence[str], epochs: int) -> dict[str, NDArray[Any]]:
    rows = path.parent / _ROWS
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in names if name != _KEY}
    for place in (rows / _KEYS, *(rows / _row_name(epoch) for epoch in range(epochs))):
        if not place.exists():
            name = f"{_ROWS}/{place.name}"
            raise DataError(f"{path}: lacks {name}; the folder {_ROWS} belongs to it, copy both")
    with opened(rows / _KEYS, "a file of keys", _REMEDY) as file:
        key = read_table(rows / _KEYS, plain_table(file, _KEY, "S", 1))
    for epoch in range(epochs):
        place = rows / _row_name(epoch)
        with opened(place, "a row of scores", _REMEDY) as file:
            for name, values in columns.items():
                values.append(read_table(place, plain_table(file, name, "number", 1)))
                if values[-1].shape != key.shape:
                    raise ValueError(f"{name!r} has not the {len(key)} samples of the keys")
    empty = np.zeros((0, len(key)))
    return {_KEY: key, **{n: np.stack(v) if v else empty for n, v in columns.items()}}


def _split(path: Path, rows: Path) -> None:
    """Writes the rows of a file of an earlier version, which holds them itself, as files."""
    if not path.exists():
        return
    with opened(path, "a file of scores", _REMEDY) as file:
        if _KEY not in file or _VISITS not in file or _epochs_shown(file) is not None:
            return
        tables = {name: _column(file, name) for name in file if name != _KEY}
    for epoch in range(len(tables[_VISITS])):
        columns = {name: table[epoch] for name, table in tables.items()}
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
