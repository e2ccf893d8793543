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
from mmtrain.data.reading.packs import (
    MAGIC,
    REFRESH_S,
    Pack,
    PackWriter,
    file_size,
    list_tables,
    remove_pack,
    try_lock,
    used_ns,
)
from mmtrain.errors import ConfigError

log = logging.getLogger(__name__)

_LOCK: Final = "mmtrain-cache.lock"
_PACKS: Final = 128
# Passes in which a pack must have been unused to be removed. Between two passes over train there
# may be one over val and one that scores.
_PASSES: Final = 4
_LEAST_PACK: Final = 4 << 20
_LARGEST_PACK: Final = 1 << 32

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
        self._packs: dict[int, Pack] = {}
        self._numbers: dict[str, int] = {}
        self._writer: PackWriter | None = None
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
        # In this order: a thread that has waited for the lock sees that the disk failed meanwhile.
        with self._lock, self._disabled_by_errors():
            if self._broken:
                return
            if time.monotonic() - self._refreshed > REFRESH_S:
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

    def _writer_for(self, size: int) -> "PackWriter | None":
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

    def _resume_pack(self, size: int) -> "PackWriter | None":
        """Takes over a pack with room that no process writes to any more."""
        self._refresh()
        for number, pack in self._packs.items():
            if pack.end + size <= pack.size and (lock := try_lock(pack.table)) is not None:
                self._add_entries(number, pack)
                if pack.end + size <= pack.size:
                    return PackWriter(number, pack, lock)
                os.close(lock)
        return None

    def _make_pack(self) -> "PackWriter | None":
        """Makes a pack, removing old ones if it must; returns None if there is no room."""
        tables = list_tables(self._folder)
        used = sum(file_size(table) + file_size(table.with_suffix(".pack")) for table in tables)
        for table in sorted(tables, key=used_ns):
            if used + self._pack_bytes <= self._limit:
                break
            if used_ns(table) < self._begun[0]:
                used -= remove_pack(table)
        if used + self._pack_bytes > self._limit:
            return None
        table = self._folder / f"{self._root[:16]}-{secrets.token_hex(6)}.table"
        lock = os.open(table, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(lock, MAGIC)
        with table.with_suffix(".pack").open("xb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, self._pack_bytes)
            except OSError:
                table.with_suffix(".pack").unlink()
                table.unlink()
                os.close(lock)
                raise
        number, pack = self._open_pack(table)
        return PackWriter(number, pack, lock)

    def _refresh(self) -> None:
        """Takes in what other writers have added, and forgets packs that were removed."""
        self._refreshed = time.monotonic()
        for table in list_tables(self._folder):
            if table.name.startswith(self._root[:16]):
                try:
                    number, pack = self._open_pack(table)
                    self._add_entries(number, pack)
                except OSError:  # Another process has just removed it.
                    continue
        for number, pack in list(self._packs.items()):
            pack.touched = 0.0
            if pack.is_removed:
                # Dropping it closes its file, and only then does the disk have its space back.
                del self._packs[number]

    def _open_pack(self, table: Path) -> "tuple[int, Pack]":
        number = self._numbers.setdefault(table.name, len(self._numbers) + 1)
        if number not in self._packs:
            self._packs[number] = Pack(table)
        return number, self._packs[number]

    def _add_entries(self, number: int, pack: "Pack") -> None:
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
