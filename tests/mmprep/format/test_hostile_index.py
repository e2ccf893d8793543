"""An index from a stranger: nothing is mapped, followed or filtered but plain columns."""

import hashlib
import os
import random
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from mmprep.errors import DataError
from mmprep.format import DATASET, INDEX, Dataset
from mmprep.inspection.verify import verify
from mmprep.shards import Shards, read_dataset
from mmprep.storage.store import LocalStore
from mmtrain.data import open_dataset
from tests.support import mutants
from tests.support.shardmaker import Recipe, make_shards


@pytest.fixture
def out(tmp_path: Path) -> Path:
    make_shards(tmp_path / "out", Recipe(frames=1, size=(32, 32), columns=12))
    return tmp_path / "out"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file of the user, and a pipe, neither of which may be read."""
    path = tmp_path / "canary.h5"
    with h5py.File(path, "w") as file:
        file["canary"] = np.full(4096, 7, np.uint32)
    os.mkfifo(f"{path}.pipe")
    return path


def seal(out: Path, **changes: object) -> None:
    """Makes dataset.json fit the index, as one does who means it."""
    dataset = read_dataset(LocalStore(out))
    digest = hashlib.sha256((out / INDEX).read_bytes()).hexdigest()
    made = replace(dataset, files={INDEX: digest}, **changes)
    (out / DATASET).write_text(made.to_json())


# Kinds that leave a table plain; bytes, besides, have no order to swap.
PLAIN = {"largest values", "one value"}
CASES = [
    (table, kind)
    for table in ("label", "counts", "key", "classes")
    for kind in sorted({*mutants.KINDS} - PLAIN)
    if kind != "swapped bytes" or table in ("label", "counts")
]


@pytest.mark.parametrize(("table", "kind"), CASES)
def test_a_table_that_is_no_plain_column_is_refused(
    out: Path, canary: Path, table: str, kind: str
) -> None:
    with h5py.File(out / INDEX, "r+") as file:
        values = np.asarray(file[table])
        del file[table]
        mutants.KINDS[kind](file, table, values, canary)
    seal(out)
    for opened in (lambda: Shards(LocalStore(out)), lambda: open_dataset(str(out))):
        with pytest.raises(DataError, match="index"):
            opened()
    assert any(problem.path == INDEX for problem in verify(LocalStore(out)).problems)


def test_a_pipe_in_place_of_the_index_is_not_waited_for(out: Path) -> None:
    (out / INDEX).unlink()
    os.mkfifo(out / INDEX)
    with pytest.raises(DataError, match="not a file"):
        Shards(LocalStore(out))
    with pytest.raises(DataError, match="not a file"):
        open_dataset(str(out))


@pytest.mark.parametrize(
    ("table", "row", "value"),
    [("label", 0, 2), ("split", 6, 0), ("size", 0, 9), ("crc", 3, 5)],
)
def test_a_damaged_index_on_disk_is_refused_before_training(
    out: Path, table: str, row: int, value: int
) -> None:
    seal(out)
    with h5py.File(out / INDEX, "r+") as file:
        file[table][row] = value
    for opened in (lambda: Shards(LocalStore(out)), lambda: open_dataset(str(out))):
        with pytest.raises(DataError, match=r"index\.h5: does not fit dataset\.json; run `mmp"):
            opened()


def test_an_old_data_set_without_the_digest_opens(out: Path) -> None:
    assert INDEX not in Dataset.from_json((out / DATASET).read_text(), "here").files
    with open_dataset(str(out)) as dataset:
        assert len(dataset) == 8


@pytest.mark.parametrize("name", ["classes", "splits"])
def test_names_that_differ_from_the_description_are_refused(out: Path, name: str) -> None:
    with h5py.File(out / INDEX, "r+") as file:
        values = np.asarray(file[name])
        file[name][...] = values[::-1]
    seal(out)
    with pytest.raises(DataError, match=rf"names other {name} than dataset\.json"):
        Shards(LocalStore(out))


@pytest.mark.parametrize("key", [b"../../evil", b"a/b", b"", b"a\0b", b"\xff\xfe", b"k\x1b[31m"])
def test_keys_that_name_other_files_are_refused(out: Path, key: bytes) -> None:
    with h5py.File(out / INDEX, "r+") as file:
        keys = [key, *np.asarray(file["key"])[1:].tolist()]
        del file["key"]
        file["key"] = np.array(keys)
    seal(out)
    with pytest.raises(DataError, match="holds a key that no sample may have"):
        Shards(LocalStore(out))


def test_mutants_of_one_seed_are_the_same() -> None:
    damaged = [mutants.mutate_bytes(bytes(500), random.Random(3)) for _ in range(2)]
    assert damaged[0] == damaged[1] != bytes(500)
