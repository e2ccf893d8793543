"""Refusals of the disk are named, and files stay whole."""

from pathlib import Path

import pytest

from mmtrain import files
from mmtrain.errors import MmtrainError


def test_a_full_disk_is_named_and_nothing_half_stays(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    (tmp_path / ".result.json.partial").symlink_to("/dev/full")
    with pytest.raises(MmtrainError, match=r"cannot write .*result\.json: the disk is full"):
        files.replace(path, lambda file: file.write(b"new"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MmtrainError, match=r"cannot write .*file/x: Not a directory"):
        files.replace(tmp_path / "file" / "x", lambda file: file.write(b"new"))


def test_other_errors_of_the_writer_pass_and_leave_nothing(tmp_path: Path) -> None:
    def write(file: object) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        files.replace(tmp_path / "x", write)
    assert not list(tmp_path.iterdir())
