"""Shards that were made to mislead: the stream names the fault and reads nothing outside them."""

import io
import shutil
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from mmprep.errors import DataError as FormatError
from mmprep.format import DATASET, INDEX
from mmprep.storage.store import LocalStore
from mmtrain.curricula.uniform import Uniform
from mmtrain.data import OrderedStream, View, open_dataset
from mmtrain.data.foreign import ForeignStream
from mmtrain.errors import DataError
from tests.support.streammaker import make_data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_data(tmp_path / "farm")


def epoch(folder: Path) -> None:
    with open_dataset(folder) as data:
        stream = OrderedStream(data, ("visual",), 6, View(size=24))
        stream.begin(Uniform().visits(data.ids("train"), 0, 0), seed=0, epoch=0)
        list(stream)


@pytest.mark.parametrize(("name", "value"), [("start", 1 << 40), ("start", (1 << 63) + 9)])
def test_an_index_that_points_outside_its_shard_is_refused(
    folder: Path, name: str, value: int
) -> None:
    with h5py.File(folder / INDEX, "r+") as file:
        file[name][7] = value
    with pytest.raises(DataError, match=r"train/000001\.tar: the index points outside .*train007"):
        epoch(folder)


def test_a_size_beyond_the_shard_is_refused_before_memory_is_taken(folder: Path) -> None:
    with h5py.File(folder / INDEX, "r+") as file:
        file["size"][1] = (1 << 32) - 1
    with pytest.raises(DataError, match=r"train/000000\.tar: the index points outside it"):
        epoch(folder)


def test_an_index_that_names_files_outside_is_refused(folder: Path) -> None:
    with h5py.File(folder / INDEX, "r+") as file:
        names = [b"../../../etc/passwd", *file["shards"][1:]]
        del file["shards"]
        file["shards"] = np.array(names)
    with pytest.raises(DataError, match=r"index\.h5: names other shards than dataset\.json"):
        open_dataset(folder)


def test_a_shard_in_place_of_another_is_refused(folder: Path) -> None:
    shutil.copyfile(folder / "train/000001.tar", folder / "train/000000.tar")
    with pytest.raises(DataError, match=r"train/000000\.tar: sample 'train00\d'.*checksum"):
        epoch(folder)


def test_a_newer_format_is_refused(folder: Path) -> None:
    text = (folder / DATASET).read_text().replace('"format": 1', '"format": 3', 1)
    (folder / DATASET).write_text(text)
    with pytest.raises(FormatError, match="format 3; this mmprep reads"):
        open_dataset(folder)


@pytest.mark.parametrize("name", ["../escaped.jpg", "/tmp/escaped.jpg", "a/../../escaped.jpg"])
def test_paths_that_lead_out_of_a_foreign_shard_are_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo(name)
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    with pytest.raises(DataError, match=rf"a\.tar.*{name}.*leads out of the shard; refused"):
        list(ForeignStream(LocalStore(tmp_path), ("visual",), 1, View(size=24)))


def test_links_in_a_foreign_shard_are_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            info = tarfile.TarInfo("clip.jpg")
            info.type, info.linkname = kind, str(tmp_path / "secret.jpg")
            tar.addfile(info)
    assert list(ForeignStream(LocalStore(tmp_path), ("visual",), 1, View(size=24))) == []
