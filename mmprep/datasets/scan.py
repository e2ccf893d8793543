"""Listing of the raw folder or bucket; no file is opened."""

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from mmprep.errors import ConfigError
from mmprep.storage.access import Access
from mmprep.storage.place import Raw
from mmprep.storage.store import store_at

log = logging.getLogger(__name__)

# Usual names of the folders of splits.
SPLIT_FOLDERS: Final = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class Scan(list[str]):
    """POSIX paths relative to the raw folder, sorted.

    Attributes:
        outside: Links, to files or folders, that lead out of the raw folder and are not followed.
        sizes: Sizes of the files of a bucket, by path; empty for a folder.
    """

    def __init__(
        self, paths: list[str], outside: list[str], sizes: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(paths)
        self.outside = outside
        self.sizes = sizes or {}


def scan(raw: Raw, access: Access | None = None) -> Scan:
    """Lists all files under ``raw``, except hidden ones such as the ``._*`` of a Mac.

    A bucket is listed once. In a folder, links to files inside ``raw`` count as files. Links to
    folders are not followed: inside, their files are found anyway; outside, they could change
    without a trace.

    Raises:
        ConfigError: There is no such folder, or one inside may not be read.
        StoreError: The bucket refuses the request.
    """
    if isinstance(raw, str):
        files_in_bucket = store_at(raw, access or Access()).files()
        sizes = {path: size for path, size in files_in_bucket if not _hidden(path)}
        return Scan(sorted(sizes), [], sizes)
    if not raw.is_dir():
        raise ConfigError(f"--raw {raw} is no folder")
    files: list[str] = []
    outside: list[str] = []
    unwritable = 0
    root = raw.resolve()
    above = len(os.path.join(root, ""))
    for entry in _entries(str(root)):
        path = entry.path[above:].replace(os.sep, "/")
        if _unwritable(path):
            unwritable += 1
        elif entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(root):
            outside.append(path)
        elif os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file():
            files.append(path)
    if unwritable:
        log.warning("%s: %d files left out: their names are not UTF-8", raw, unwritable)
    if outside:
        log.warning("%s: %d links lead out of it: %s", raw, len(outside), ", ".join(outside[:3]))
    return Scan(sorted(files), sorted(outside))


def _hidden(path: str) -> bool:
    return any(name.startswith(".") for name in path.split("/"))


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yields files and links below ``folder``, except hidden ones."""
    try:
        entries = list(os.scandir(folder))
    except PermissionError as error:
        raise ConfigError(f"{folder} may not be read; allow it, or move it out of --raw") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(entry.path)
        else:
            yield entry


def _unwritable(path: str) -> bool:
    """Whether a path has bytes that are not UTF-8, so that no manifest could hold it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return True
    return False
