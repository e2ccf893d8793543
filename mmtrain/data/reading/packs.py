"""Packs: the files of the cache, each many members with a table that locates them."""

import fcntl
import os
import re
import time
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmtrain.data.reading.local import Bytes

# First bytes of a table; a file without them, or with a name of another form, is not ours to touch.
MAGIC: Final = b"mmtrain cache 1\n"
_NAME: Final = re.compile(r"[0-9a-f]{16}-[0-9a-f]{12}\.table")
# Number of the member, and its place in the pack plus 1, so that zeros on the disk are no entry.
ENTRY: Final = np.dtype([("number", "<u8"), ("place", "<u8")])
# Seconds for which what other processes add to the folder may go unseen.
REFRESH_S: Final = 5.0


class Pack:
    """Pack that is open for reading; closed when the last thread lets go of it.

    Args:
        table: Path of its table.

    Attributes:
        table: Path of its table.
        file: Descriptor of its file.
        size: Size of the pack in bytes, all of it taken from the disk.
        end: Place behind the last member that is known.
        touched: Time of the last read that was noted on the table, in seconds.
    """

    def __init__(self, table: Path) -> None:
        self.table = table
        self.touched = 0.0
        self.end = 0
        self._read_to = len(MAGIC)
        self.file = os.open(table.with_suffix(".pack"), os.O_RDWR)
        self.size = os.fstat(self.file).st_size

    def __del__(self) -> None:
        if hasattr(self, "file"):
            os.close(self.file)

    @property
    def is_removed(self) -> bool:
        """Whether its file was removed."""
        return os.fstat(self.file).st_nlink == 0

    def read(self, place: int, size: int) -> bytes:
        """Reads ``size`` bytes at a place; returns fewer where the disk fails."""
        try:
            if (now := time.time()) - self.touched > REFRESH_S:
                self.touched = now
                # With an explicit time, because the system's own stamps lag by milliseconds.
                os.utime(self.table, ns=(time.time_ns(),) * 2)
            return os.pread(self.file, size, place)
        except OSError:
            return b""

    def new_entries(self) -> NDArray[np.void]:
        """Reads the entries of the table that were added since the last call."""
        with self.table.open("rb") as file:
            file.seek(self._read_to)
            data = file.read()
        whole = len(data) - len(data) % ENTRY.itemsize
        self._read_to += whole
        # A writer may be in the middle of an entry; the rest comes next time.
        entries = np.frombuffer(data[:whole], ENTRY)
        return entries[entries["place"] > 0]


class PackWriter:
    """The one writer of a pack; releases its lock when it is dropped.

    Args:
        number: Number of the pack in its cache.
        pack: Pack to write.
        lock: Descriptor of its table, which holds the lock.
    """

    def __init__(self, number: int, pack: Pack, lock: int) -> None:
        self.number, self._pack, self._lock = number, pack, lock
        # A killed writer may have left half an entry.
        whole = os.fstat(lock).st_size - len(MAGIC)
        os.ftruncate(lock, len(MAGIC) + whole - whole % ENTRY.itemsize)
        os.lseek(lock, 0, os.SEEK_END)

    def __del__(self) -> None:
        os.close(self._lock)

    @property
    def free_bytes(self) -> int:
        """Number of bytes that still fit."""
        return self._pack.size - self._pack.end

    def append(self, number: int, data: Bytes) -> int:
        """Writes a member and then its entry; returns its place."""
        # In this order: a process that is killed in between leaves bytes without an entry, no harm.
        place = self._pack.end
        if os.pwrite(self._pack.file, data.data, place) != len(data):
            raise OSError("the disk took only a part")
        os.write(self._lock, np.array((number, place + 1), ENTRY).tobytes())
        self._pack.end = place + len(data)
        return place


def list_tables(folder: Path) -> list[Path]:
    """Lists the tables that a cache of ours wrote."""
    return [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and _is_ours(path)]


def _is_ours(table: Path) -> bool:
    try:
        with table.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def remove_pack(table: Path) -> int:
    """Removes a pack unless a process writes to it; returns the bytes that were freed."""
    lock = try_lock(table)
    if lock is None:
        return 0
    freed = file_size(table) + file_size(table.with_suffix(".pack"))
    table.with_suffix(".pack").unlink(missing_ok=True)
    table.unlink(missing_ok=True)
    os.close(lock)
    return freed


def try_lock(table: Path) -> int | None:
    """Returns a descriptor that holds the lock of a table, or None if another process holds it."""
    try:
        lock = os.open(table, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def file_size(path: Path) -> int:
    """Size of a file in bytes; 0 if it was removed."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def used_ns(table: Path) -> int:
    """Time of the last use of a pack in nanoseconds; 0 if it was removed."""
    try:
        return table.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
