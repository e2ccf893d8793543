"""Caches the members that a bucket gave in a bounded folder of the local disk, for later epochs.

It keeps single members, not ranges or blocks: the next epoch shows other frames of a clip in
another order, so that a range would hardly ever come again, and a block would hold bytes that
nobody asked for. A member is read from the bucket at most once, and the index already has its size
and CRC32C.

Members are appended to packs of one size, a file each with a table beside it, so that 20 GB are not
a million files. A pack has one writer at a time, which holds a lock on the table; any process may
read it. Disk space is taken when a pack is made: the bound holds, and a full disk is met there.
When no more packs fit, the least recently used one is removed, but none that was used in the last
few passes: an epoch visits each sample once, so that evicting members of this pass for others would
lose nearly all hits of the next, and not only those for which there is no room.
"""

import fcntl
import logging
import os
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from mmprep.format import Index, crc32c
from mmprep.storage.store import LocalStore
from mmtrain.data.dataset import ShardedDataset
from mmtrain.data.reading.local import Bytes
from mmtrain.data.reading.options import StreamOptions
from mmtrain.errors import ConfigError

log = logging.getLogger(__name__)

# First bytes of a table; a file without them, or with a name of another form, is not ours to touch.
_MAGIC: Final = b"mmtrain cache 1\n"
_NAME: Final = re.compile(r"[0-9a-f]{16}-[0-9a-f]{12}\.table")
_LOCK: Final = "mmtrain-cache.lock"
# Number of the member, and its place in the pack plus 1, so that zeros on the disk are no entry.
_ENTRY: Final = np.dtype([("number", "<u8"), ("place", "<u8")])
_PACKS: Final = 128
# Passes in which a pack must have been unused to be removed. Between two passes over train there
# may be one over val and one that scores.
_PASSES: Final = 4
_LEAST_PACK: Final = 4 << 20
_LARGEST_PACK: Final = 1 << 32
# Seconds for which what other processes add to the folder may go unseen.
_REFRESH_S: Final = 5.0

# The caches of each data set that is open, for its streams to share: two would not see what the
# other has just stored, and would write two packs. Weak, so that they end with the data set.
_OPEN: WeakKeyDictionary[ShardedDataset, dict[tuple[Path, int], "Cache"]] = WeakKeyDictionary()


def open_cache(dataset: ShardedDataset, options: StreamOptions) -> "Cache | None":
    """Returns the cache that all streams of a data set share, and starts a pass of it.

    Args:
        dataset: Data set whose members are cached.
        options: Folder and size of the cache.

    Returns:
        None if no folder is given, or if the data set lies on a local disk, which needs no cache.

    Raises:
        ConfigError: The folder cannot be used.
    """
    if options.cache is None or isinstance(dataset.store, LocalStore):
        return None
    caches, place = _OPEN.setdefault(dataset, {}), (options.cache, options.cache_bytes)
    if place not in caches:
        caches[place] = Cache(*place, dataset.description.root, dataset.index)
    caches[place].begin()
    return caches[place]


class Cache:
    """Members of one data set in a folder; threads may share it.

    Several processes, and several caches of one process, may use the folder.

    Args:
        folder: Folder on a local disk; made if it does not exist.
        limit: Largest size of the whole folder in bytes.
        root: Root hash of the data set, which names its packs.
        index: Index of the data set.

    Raises:
        ConfigError: The folder cannot be used.
    """

    def __init__(self, folder: Path, limit: int, root: str, index: Index) -> None:
        self._folder, self._limit, self._root, self._index = folder, limit, root, index
        self._pack_bytes = min(max(limit // _PACKS, min(_LEAST_PACK, limit // 4)), _LARGEST_PACK)
        # For each member, the number of its pack (from 1) in the upper half and its place there in
        # the lower: eight bytes, since a data set may have millions of members.
        self._where: NDArray[np.uint64] = np.zeros(len(index.size), np.uint64)
        self._packs: dict[int, _Pack] = {}
        self._numbers: dict[str, int] = {}
        self._writer: _Writer | None = None
        self._lock = threading.RLock()
        self._begun = deque([time.time_ns()], maxlen=_PASSES)
        self._refreshed = 0.0
        self._full = self._broken = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._locked_folder():
                pass
        except OSError as error:
            raise ConfigError(
                f"--cache {folder}: {error.strerror}; name a folder of a local disk that can be "
                "written to, or leave --cache out"
            ) from error

    def begin(self) -> None:
        """Starts a pass over an order: takes in what other processes have cached."""
        with self._lock:
            self._begun.append(time.time_ns())
            self._full = False
            with self._disabled_by_errors():
                self._refresh()

    def get(self, number: int) -> Bytes | None:
        """Returns the bytes of a member, or None if they are not cached or damaged.

        Args:
            number: Row of the member in the index.
        """
        where = int(self._where[number])
        if not where:
            return None
        size, crc = int(self._index.size[number]), int(self._index.crc[number])
        pack = self._packs.get(where >> 32)
        data = b"" if pack is None else pack.read(where & 0xFFFFFFFF, size)
        member = np.frombuffer(data, np.uint8)
        if len(member) != size or crc32c(member) != crc:
            self._where[number] = 0
            return None
        return member

    def put(self, number: int, data: Bytes) -> None:
        """Stores a member, if there is room.

        Args:
            number: Row of the member in the index.
            data: Bytes of the member, already checked against the index.
        """
        if self._broken or self._where[number]:
            return
        with self._disabled_by_errors(), self._lock:
            if time.monotonic() - self._refreshed > _REFRESH_S:
                self._refresh()
            if (writer := self._writer_for(len(data))) is not None:
                place = writer.append(number, data)
                self._where[number] = np.uint64(writer.number << 32 | place)

    @contextmanager
    def _disabled_by_errors(self) -> Iterator[None]:
        """Turns an error of the disk into a warning, after which nothing more is stored."""
        try:
            yield
        except OSError as error:
            if not self._broken:
                reason = error.strerror or error
                log.warning("--cache %s: %s; nothing more is kept there", self._folder, reason)
            self._broken = True

    def _writer_for(self, size: int) -> "_Writer | None":
        """Returns a writer of a pack in which ``size`` bytes fit, if there is one."""
        if self._writer is not None and size <= self._writer.free_bytes:
            return self._writer
        if self._full or size > self._pack_bytes:
            return None
        self._writer = None
        with self._locked_folder():
            self._writer = self._resume_pack(size) or self._make_pack()
        self._full = self._writer is None
        return self._writer

    def _resume_pack(self, size: int) -> "_Writer | None":
        """Takes over a pack with room that no process writes to any more."""
        self._refresh()
        for number, pack in self._packs.items():
            if pack.end + size <= pack.size and (lock := _try_lock(pack.table)) is not None:
                self._add_entries(number, pack)
                if pack.end + size <= pack.size:
                    return _Writer(number, pack, lock)
                os.close(lock)
        return None

    def _make_pack(self) -> "_Writer | None":
        """Makes a pack, removing old ones if it must; returns None if there is no room."""
        tables = _tables(self._folder)
        used = sum(_size(table) + _size(table.with_suffix(".pack")) for table in tables)
        for table in sorted(tables, key=_used_ns):
            if used + self._pack_bytes <= self._limit:
                break
            if _used_ns(table) < self._begun[0]:
                used -= _remove(table)
        if used + self._pack_bytes > self._limit:
            return None
        table = self._folder / f"{self._root[:16]}-{secrets.token_hex(6)}.table"
        lock = os.open(table, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(lock, _MAGIC)
        with table.with_suffix(".pack").open("xb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, self._pack_bytes)
            except OSError:
                table.with_suffix(".pack").unlink()
                table.unlink()
                os.close(lock)
                raise
        number, pack = self._open_pack(table)
        return _Writer(number, pack, lock)

    def _refresh(self) -> None:
        """Takes in what other writers have added, and forgets packs that were removed."""
        self._refreshed = time.monotonic()
        for table in _tables(self._folder):
            if table.name.startswith(self._root[:16]):
                try:
                    number, pack = self._open_pack(table)
                    self._add_entries(number, pack)
                except OSError:  # Another process has just removed it.
                    continue
        for number, pack in list(self._packs.items()):
            pack.touched = 0.0
            if pack.gone:
                # Dropping it closes its file, and only then does the disk have its space back.
                del self._packs[number]

    def _open_pack(self, table: Path) -> "tuple[int, _Pack]":
        number = self._numbers.setdefault(table.name, len(self._numbers) + 1)
        if number not in self._packs:
            self._packs[number] = _Pack(table)
        return number, self._packs[number]

    def _add_entries(self, number: int, pack: "_Pack") -> None:
        """Takes in the new entries of a table, those of a damaged one left out."""
        entries = pack.new_entries()
        known = (entries["number"] < len(self._where)) & (entries["place"] <= pack.size)
        numbers, places = entries["number"][known], entries["place"][known] - np.uint64(1)
        ends = places + self._index.size[numbers]
        within = ends <= pack.size
        numbers, places = numbers[within], places[within]
        pack.end = max(pack.end, int(ends[within].max(initial=0)))
        fresh = self._where[numbers] == 0
        self._where[numbers[fresh]] = np.uint64(number << 32) | places[fresh]

    @contextmanager
    def _locked_folder(self) -> Iterator[None]:
        lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


class _Pack:
    """Pack that is open for reading; closed when the last thread lets go of it."""

    def __init__(self, table: Path) -> None:
        self.table = table
        self.touched = 0.0
        self.end = 0
        self._read_to = len(_MAGIC)
        self.file = os.open(table.with_suffix(".pack"), os.O_RDWR)
        self.size = os.fstat(self.file).st_size

    def __del__(self) -> None:
        if hasattr(self, "file"):
            os.close(self.file)

    @property
    def gone(self) -> bool:
        """Whether its file was removed."""
        return os.fstat(self.file).st_nlink == 0

    def read(self, place: int, size: int) -> bytes:
        """Reads ``size`` bytes at a place; returns fewer where the disk fails."""
        try:
            if (now := time.time()) - self.touched > _REFRESH_S:
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
        whole = len(data) - len(data) % _ENTRY.itemsize
        self._read_to += whole
        # A writer may be in the middle of an entry; the rest comes next time.
        entries = np.frombuffer(data[:whole], _ENTRY)
        return entries[entries["place"] > 0]


class _Writer:
    """The one writer of a pack; releases its lock when it is dropped."""

    def __init__(self, number: int, pack: _Pack, lock: int) -> None:
        self.number, self._pack, self._lock = number, pack, lock
        # A killed writer may have left half an entry.
        whole = os.fstat(lock).st_size - len(_MAGIC)
        os.ftruncate(lock, len(_MAGIC) + whole - whole % _ENTRY.itemsize)
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
        os.write(self._lock, np.array((number, place + 1), _ENTRY).tobytes())
        self._pack.end = place + len(data)
        return place


def _tables(folder: Path) -> list[Path]:
    """Lists the tables that a cache of ours wrote."""
    return [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and _is_ours(path)]


def _is_ours(table: Path) -> bool:
    try:
        with table.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def _remove(table: Path) -> int:
    """Removes a pack unless a process writes to it; returns the bytes that were freed."""
    lock = _try_lock(table)
    if lock is None:
        return 0
    freed = _size(table) + _size(table.with_suffix(".pack"))
    table.with_suffix(".pack").unlink(missing_ok=True)
    table.unlink(missing_ok=True)
    os.close(lock)
    return freed


def _try_lock(table: Path) -> int | None:
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


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _used_ns(table: Path) -> int:
    try:
        return table.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
