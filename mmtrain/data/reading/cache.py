"""A bounded folder on the local disk that keeps the members a bucket gave, for later epochs.

It keeps single members, not ranges or blocks: the next epoch shows other frames of a clip, in
another order, so that ranges would never come again, and blocks would read what was not asked for.
A member is fetched at most once, and the index has its size and CRC32C already.

Members are appended to packs of one size, a file each with a table beside it, so that 20 GB are not
a million files. A pack has one writer at a time, which holds a lock on the table; any process may
read it. Disk space is taken when a pack is made: the bound holds, and a full disk is met there.
When no more packs fit, the one that was used longest ago gives way, but none that was used in the
last few passes: of an order that visits each sample once an epoch, evicting what was used for what
comes next would lose nearly all hits, not only those for which there is no room.
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

import numpy as np
from numpy.typing import NDArray

from mmprep.format import Index, crc32c
from mmtrain.data.reading.local import Bytes
from mmtrain.errors import ConfigError

log = logging.getLogger(__name__)

# A table begins so; a file that does not, or is not named so, is somebody else's.
_MAGIC: Final = b"mmtrain cache 1\n"
_NAME: Final = re.compile(r"[0-9a-f]{16}-[0-9a-f]{12}\.table")
_LOCK: Final = "mmtrain-cache.lock"
# Number of the member, and its place in the pack plus 1: what was never written is no entry.
_ENTRY: Final = np.dtype([("number", "<u8"), ("place", "<u8")])
_PACKS: Final = 128
# Between two passes over train there may be one over val and one that scores.
_PASSES: Final = 4
_LEAST_PACK: Final = 4 << 20
_LARGEST_PACK: Final = 1 << 32
_REFRESH_S: Final = 5.0


class Cache:
    """The members of one data set that the folder keeps; threads may share it.

    Several processes, and several caches of one process, may use the folder.

    Args:
        folder: Made if it is not there.
        limit: Bytes of the whole folder.
        root: Root hash of the data set.
        index: Its index.

    Raises:
        ConfigError: The folder cannot be used.
    """

    def __init__(self, folder: Path, limit: int, root: str, index: Index) -> None:
        self._folder, self._limit, self._root, self._index = folder, limit, root, index
        self._pack_bytes = min(max(limit // _PACKS, min(_LEAST_PACK, limit // 4)), _LARGEST_PACK)
        # For each member, which pack (from 1) in the upper half and where in it in the lower.
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
            with self._folder_locked():
                pass
        except OSError as error:
            raise ConfigError(
                f"--cache {folder}: {error.strerror}; name a folder of a local disk that can be "
                "written to, or leave --cache out"
            ) from error

    def begin(self) -> None:
        """A pass over an order begins."""
        with self._lock:
            self._begun.append(time.time_ns())
            self._full = False
            with self._or_without():
                self._refresh()

    def get(self, number: int) -> Bytes | None:
        """The bytes of a member, or None where they are not here or damaged.

        Args:
            number: Row of the member in the index.
        """
        where = int(self._where[number])
        if not where:
            return None
        size, crc = int(self._index.size[number]), int(self._index.crc[number])
        pack = self._packs.get(where >> 32)
        data = b"" if pack is None else pack.read(where & 0xFFFFFFFF, size)
        found = np.frombuffer(data, np.uint8)
        if len(found) != size or crc32c(found) != crc:
            self._where[number] = 0
            return None
        return found

    def put(self, number: int, data: Bytes) -> None:
        """Keeps a member, if there is room.

        Args:
            number: Row of the member in the index.
            data: Its bytes, as the index describes them.
        """
        if self._broken or self._where[number]:
            return
        with self._or_without(), self._lock:
            if time.monotonic() - self._refreshed > _REFRESH_S:
                self._refresh()
            if (writer := self._room(len(data))) is not None:
                place = writer.append(number, data)
                self._where[number] = np.uint64(writer.number << 32 | place)

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        """What the disk refuses ends the keeping, not the run."""
        try:
            yield
        except OSError as error:
            if not self._broken:
                reason = error.strerror or error
                log.warning("--cache %s: %s; nothing more is kept there", self._folder, reason)
            self._broken = True

    def _room(self, size: int) -> "_Writer | None":
        """Where ``size`` bytes fit, if anywhere."""
        if self._writer is not None and size <= self._writer.room:
            return self._writer
        if self._full or size > self._pack_bytes:
            return None
        self._writer = None
        with self._folder_locked():
            self._writer = self._left_behind(size) or self._new()
        self._full = self._writer is None
        return self._writer

    def _left_behind(self, size: int) -> "_Writer | None":
        """A pack with room that no process writes to any more."""
        self._refresh()
        for number, pack in self._packs.items():
            if pack.end + size <= pack.size and (lock := _locked(pack.table)) is not None:
                self._note(number, pack)
                if pack.end + size <= pack.size:
                    return _Writer(number, pack, lock)
                os.close(lock)
        return None

    def _new(self) -> "_Writer | None":
        """A pack of this data set, if there is room or some can be made."""
        tables = _tables(self._folder)
        used = sum(_size(table) + _size(table.with_suffix(".pack")) for table in tables)
        for table in sorted(tables, key=_used_ns):
            if used + self._pack_bytes <= self._limit:
                break
            if _used_ns(table) < self._begun[0]:
                used -= _removed(table)
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
        number, pack = self._opened(table)
        return _Writer(number, pack, lock)

    def _refresh(self) -> None:
        """Learns what other writers have added, and forgets packs that are gone."""
        self._refreshed = time.monotonic()
        for table in _tables(self._folder):
            if table.name.startswith(self._root[:16]):
                try:
                    number, pack = self._opened(table)
                    self._note(number, pack)
                except OSError:  # Another process has just removed it.
                    continue
        for number, pack in list(self._packs.items()):
            pack.touched = 0.0
            if pack.gone:
                # Its file is closed here, and only then does the disk have its space back.
                del self._packs[number]

    def _opened(self, table: Path) -> "tuple[int, _Pack]":
        number = self._numbers.setdefault(table.name, len(self._numbers) + 1)
        if number not in self._packs:
            self._packs[number] = _Pack(table)
        return number, self._packs[number]

    def _note(self, number: int, pack: "_Pack") -> None:
        """Takes the entries of a table that are new."""
        entries = pack.news()
        known = (entries["number"] < len(self._where)) & (entries["place"] <= pack.size)
        numbers, places = entries["number"][known], entries["place"][known] - np.uint64(1)
        ends = places + self._index.size[numbers]
        within = ends <= pack.size
        numbers, places = numbers[within], places[within]
        pack.end = max(pack.end, int(ends[within].max(initial=0)))
        fresh = self._where[numbers] == 0
        self._where[numbers[fresh]] = np.uint64(number << 32) | places[fresh]

    @contextmanager
    def _folder_locked(self) -> Iterator[None]:
        lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


class _Pack:
    """A pack that is open for reading; closed when the last thread lets go of it."""

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
        """Whether it was removed."""
        return os.fstat(self.file).st_nlink == 0

    def read(self, place: int, size: int) -> bytes:
        """Bytes at a place; too few where the disk fails."""
        try:
            if (now := time.time()) - self.touched > _REFRESH_S:
                self.touched = now
                # The system's own stamps lag by milliseconds.
                os.utime(self.table, ns=(time.time_ns(),) * 2)
            return os.pread(self.file, size, place)
        except OSError:
            return b""

    def news(self) -> NDArray[np.void]:
        """Whole entries of the table that were not read before."""
        with self.table.open("rb") as file:
            file.seek(self._read_to)
            data = file.read()
        whole = len(data) - len(data) % _ENTRY.itemsize
        self._read_to += whole
        entries = np.frombuffer(data[:whole], _ENTRY)
        return entries[entries["place"] > 0]


class _Writer:
    """The one writer of a pack; lets go of it when it is dropped."""

    def __init__(self, number: int, pack: _Pack, lock: int) -> None:
        self.number, self._pack, self._lock = number, pack, lock
        # A killed writer may have left half an entry.
        whole = os.fstat(lock).st_size - len(_MAGIC)
        os.ftruncate(lock, len(_MAGIC) + whole - whole % _ENTRY.itemsize)
        os.lseek(lock, 0, os.SEEK_END)

    def __del__(self) -> None:
        os.close(self._lock)

    @property
    def room(self) -> int:
        """Bytes that fit."""
        return self._pack.size - self._pack.end

    def append(self, number: int, data: Bytes) -> int:
        """Writes a member and then its entry; returns its place."""
        place = self._pack.end
        if os.pwrite(self._pack.file, data.data, place) != len(data):
            raise OSError("the disk took only a part")
        os.write(self._lock, np.array((number, place + 1), _ENTRY).tobytes())
        self._pack.end = place + len(data)
        return place


def _tables(folder: Path) -> list[Path]:
    """Tables that a cache wrote."""
    return [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and _ours(path)]


def _ours(table: Path) -> bool:
    try:
        with table.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def _removed(table: Path) -> int:
    """Removes a pack that nobody writes to; returns the bytes that were freed."""
    lock = _locked(table)
    if lock is None:
        return 0
    freed = _size(table) + _size(table.with_suffix(".pack"))
    table.with_suffix(".pack").unlink(missing_ok=True)
    table.unlink(missing_ok=True)
    os.close(lock)
    return freed


def _locked(table: Path) -> int | None:
    """A descriptor that holds the lock of a table, or None where another does."""
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
