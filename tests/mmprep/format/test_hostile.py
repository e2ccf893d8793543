"""Data sets that somebody made to mislead: refused by name wherever they are read."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from mmprep.errors import DataError
from mmprep.format import DATASET, INDEX, Dataset, read_members
from mmprep.inspection.verify import verify
from mmprep.shards import Shards
from mmprep.storage.store import LocalStore, Store, open_store
from tests.support.shardmaker import Recipe, make_shards

SHARD = "train/000000.tar"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    make_shards(tmp_path / "out", Recipe(parts=("frames", "spectrogram")))
    return tmp_path / "out"


def sealed(out: Path) -> None:
    """Makes the description fit what lies in ``out`` now, as one would who means it."""
    path = out / DATASET
    dataset = Dataset.from_json(path.read_text(), "here")
    shards = tuple(
        replace(
            shard,
            bytes=(out / shard.name).stat().st_size,
            sha256=hashlib.sha256((out / shard.name).read_bytes()).hexdigest(),
        )
        for shard in dataset.shards
    )
    files = {INDEX: hashlib.sha256((out / INDEX).read_bytes()).hexdigest()}
    path.write_text(replace(dataset, shards=shards, files=files).to_json())


def rewritten(out: Path, name: str, row: int, value: int) -> None:
    with h5py.File(out / INDEX, "r+") as file:
        file[name][row] = value
    sealed(out)


def uploaded(out: Path, url: str) -> Store:
    store = open_store(url)
    for path in out.rglob("*.*"):
        store.write(path.relative_to(out).as_posix(), path.read_bytes())
    return store


@pytest.mark.parametrize("where", ["folder", "bucket"])
@pytest.mark.parametrize(
    ("name", "row", "value"),
    [("start", 0, 1 << 30), ("start", 3, (1 << 63) + 7), ("size", 1, (1 << 32) - 1)],
)
@pytest.mark.network
def test_an_index_that_points_outside_its_shard_is_refused(out, request, where, name, row, value):
    rewritten(out, name, row, value)
    store = LocalStore(out)
    if where == "bucket":
        store = uploaded(out, request.getfixturevalue("bucket"))
    with Shards(store) as shards:
        hit = row if name == "start" else 0
        with pytest.raises(DataError, match=f"row {hit} points outside its shard"):
            shards.read(hit)
    # The index fits its hash, so only the shard itself tells.
    said = [problem.message for problem in verify(store).problems]
    assert (f"the index says {value}" if name == "start" else "the tar header of") in said[0]


@pytest.mark.parametrize("name", [b"../../etc/passwd", b"/etc/passwd", b"val/000000.tar"])
def test_an_index_that_names_other_shards_is_refused(out, name):
    with h5py.File(out / INDEX, "r+") as file:
        names = list(file["shards"][:])
        del file["shards"]
        file["shards"] = np.array([name, *names[1:]])
    sealed(out)
    with pytest.raises(DataError, match=r"names other shards than dataset\.json"):
        Shards(LocalStore(out))
    assert "names other shards" in verify(LocalStore(out)).problems[0].message


def test_a_shard_in_place_of_another_is_refused(out):
    (out / SHARD).write_bytes((out / "test/000000.tar").read_bytes().ljust(1 << 20, b"\0"))
    with Shards(LocalStore(out)) as shards, pytest.raises(DataError, match="does not fit its che"):
        shards.read(0, ["frames"])
    assert {problem.path for problem in verify(LocalStore(out)).problems} >= {SHARD}


def archive(name: str, kind: bytes, target: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        info.size = 3 if kind == tarfile.REGTYPE else 0
        tar.addfile(info, io.BytesIO(b"abc"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("../escaped.json", tarfile.REGTYPE, ""),
        ("/tmp/escaped.json", tarfile.REGTYPE, ""),
        ("clip_0000.json", tarfile.SYMTYPE, "/etc/passwd"),
        ("clip_0000.json", tarfile.LNKTYPE, "../x"),
    ],
)
def test_paths_and_links_in_a_shard_are_refused_by_name(out, name, kind, target):
    data = archive(name, kind, target)
    with pytest.raises(DataError, match=f"{SHARD}: .*{name.rpartition('/')[2]}.* refused"):
        list(read_members(io.BytesIO(data), SHARD))
    # Its hash and size fit, so only the headers can tell.
    (out / SHARD).write_bytes(data)
    sealed(out)
    found = verify(LocalStore(out)).problems
    assert (found[0].path, found[0].key) == (SHARD, "clip_0000")
    assert "the tar header of clip_0000.json" in found[0].message
