"""Files that are replaced whole or not at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mmprep.storage.atomic import replacing, sync_folder
from mmprep.storage.refusals import disk_refusal
from mmtrain.errors import MmtrainError

__all__ = ["naming_refusals", "replace", "sync_folder"]


def replace(
    path: Path,
    write: Callable[[BinaryIO], object],
    prove: Callable[[Path], object] = lambda aside: None,
) -> None:
    """Writes a file beside ``path``, brings it to the disk, and renames it to ``path``.

    Whoever reads ``path`` finds the old file or the new one, whenever the process is killed or the
    disk fills up.

    Args:
        path: Place of the file.
        write: Function that writes the content.
        prove: Function that reads the new file back before the old one goes, and raises if it is
            not what was written.

    Raises:
        MmtrainError: The disk refused; the message names the file and the reason.
    """
    aside = path.with_name(f".{path.name}.partial")
    with naming_refusals(path), replacing(path, aside, prove) as file:
        write(file)


@contextmanager
def naming_refusals(path: Path) -> Iterator[None]:
    """Turns a refusal of the disk into an error that names ``path`` and what to do.

    Raises:
        MmtrainError: The disk refused.
    """
    try:
        yield
    except OSError as error:
        raise MmtrainError(f"cannot write {path}: {disk_refusal(error)}") from error
