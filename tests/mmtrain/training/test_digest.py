"""Weights that were damaged are refused, and the last good checkpoint outlives a bad write."""

import os
import random
from pathlib import Path

import pytest
import torch

from mmtrain.errors import DataError, MmtrainError
from mmtrain.training import checkpoint, digest

STATE = {"model": {"w": torch.arange(6000.0), "b": torch.ones(3)}, "epoch": 3}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "best.pt", STATE)
    return tmp_path / "best.pt"


def equals(state: dict) -> bool:
    return state["epoch"] == 3 and torch.equal(state["model"]["w"], STATE["model"]["w"])


def test_a_sealed_file_is_read_by_us_and_by_torch(path: Path) -> None:
    assert equals(checkpoint.load(path))
    assert equals(torch.load(path, weights_only=True))


def test_a_flipped_bit_is_refused_with_what_to_do(path: Path) -> None:
    whole, rng = path.read_bytes(), random.Random(0)
    for at in (*(rng.randrange(len(whole)) for _ in range(60)), len(whole) // 2):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"best\.pt: .*take it from a copy of the run"):
            checkpoint.load(path)
        assert DataError.exit_code == 3


@pytest.mark.parametrize(
    "change", [lambda d: d[:-1], lambda d: d[:500], lambda d: b"", lambda d: d + b"x"]
)
def test_a_file_cut_or_grown_is_refused(path: Path, change) -> None:
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match="damaged"):
        checkpoint.load(path)


def test_files_of_earlier_versions_are_checked_by_their_members(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    torch.save({"format": checkpoint.FORMAT, **STATE}, path)
    assert equals(checkpoint.load(path))
    data = bytearray(path.read_bytes())
    at = data.index(STATE["model"]["w"].numpy().tobytes()[4000:4040])
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        checkpoint.load(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "best.pt")
    with pytest.raises(DataError, match="not a checkpoint"):
        checkpoint.load(tmp_path / "best.pt")


def test_a_full_disk_is_named_and_leaves_the_old_file_alone(path: Path) -> None:
    before = path.read_bytes()
    aside = path.with_name(".best.pt.partial")
    aside.symlink_to("/dev/full")
    with pytest.raises(MmtrainError, match=r"cannot write .*best\.pt: the disk is full; free"):
        checkpoint.save(path, {**STATE, "epoch": 4})
    assert path.read_bytes() == before
    assert not aside.is_symlink()


def test_the_old_checkpoint_stays_if_the_new_one_does_not_read_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()
    written = digest.write_sealed

    def lossy(file, write):
        written(file, write)
        file.seek(1000)
        file.write(b"lost")

    monkeypatch.setattr(checkpoint, "write_sealed", lossy)
    with pytest.raises(MmtrainError, match="the disk does not give back what was written"):
        checkpoint.save(path, {**STATE, "epoch": 4})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_state_that_does_not_fit_the_run_is_named(path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"best\.pt: does not fit the run \(lacks 'optimizer'\)"),
        checkpoint.naming_misfits(path),
    ):
        checkpoint.load(path)["optimizer"]
