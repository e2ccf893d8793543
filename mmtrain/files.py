"""Files that are replaced whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file beside ``path``, brings it to the disk, and renames it to ``path``.

    Whoever reads ``path`` finds the old file or the new one, whenever the process is killed.
    """
    aside = path.with_name(f".{path.name}.partial")
    with aside.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    # The new name is an entry of the folder, which has to reach the disk as well.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
