"""Files on disk that are replaced whole or not at all."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(
    target: Path, aside: Path, prove: Callable[[Path], object] = lambda written: None
) -> Iterator[BinaryIO]:
    """Opens ``aside`` for writing; on exit it is synced, proven and renamed to ``target``.

    Whoever reads ``target`` finds the old file or the new one, whenever the process is killed or
    the disk fills up. After an error nothing of the new file is left.

    Args:
        target: Place of the file.
        aside: Path in the same folder under which the file is written.
        prove: Function that reads the new file back before the old one goes, and raises if it is
            not what was written.

    Raises:
        OSError: The disk refused.
    """
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        prove(aside)
        aside.replace(target)
    finally:
        # Half a file is of no use, and on a full disk its room is needed.
        aside.unlink(missing_ok=True)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Brings the names in a folder to the disk; without it a synced file may lose its name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
