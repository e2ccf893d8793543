"""Reading byte ranges: from a local disk into memory that is used again, or from any store."""

import os
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmprep.storage.store import LocalStore, Store

Bytes: TypeAlias = NDArray[np.uint8]
# Offsets in a shard with the memory that takes its bytes from there on, in the order of the bytes.
Destinations: TypeAlias = Sequence[tuple[int, Bytes]]

_OPEN_FILES: Final = 256
_NOTHING: Final = np.empty(0, np.uint8)


def read_ranges(store: Store, shard: str, ranges: Sequence[tuple[int, int]]) -> list[Bytes]:
    """Reads byte ranges of a shard through the interface that all stores have.

    Args:
        store: Store that holds the shard.
        shard: Path of the shard.
        ranges: First byte of each range and the byte behind its last.

    Raises:
        StoreError: The store refuses.
    """
    return [np.frombuffer(store.read(shard, *each), np.uint8) for each in ranges]


class LocalReader:
    """Reads a local disk into memory that each thread uses again; threads may share it.

    Args:
        store: Folder of the shards.
    """

    def __init__(self, store: LocalStore) -> None:
        self._store, self._root = store, str(store.root)
        self._open = lru_cache(maxsize=_OPEN_FILES)(_OpenFile)
        self._scratch = threading.local()

    def read(self, shard: str, begin: int, end: int, elsewhere: Destinations = ()) -> Bytes:
        """Returns the bytes of a range; the thread's next call overwrites them.

        Args:
            shard: Path of the shard.
            begin: First byte of the range.
            end: Byte behind its last.
            elsewhere: Bytes of the range that are read straight to other memory; in what is
                returned they are undefined.

        Raises:
            StoreError: The disk refuses.
        """
        length = end - begin
        memory: Bytes = getattr(self._scratch, "memory", _NOTHING)
        # The same memory each time: the processor's cache still has it when it is decoded.
        if len(memory) < length:
            memory = self._scratch.memory = np.empty(length, np.uint8)
        view, buffers, at = memory.data, [], 0
        for start, other in elsewhere:
            buffers += [view[at : start - begin], other.data]
            at = start - begin + len(other)
        if at < length:
            buffers.append(view[at:length])
        try:
            # Held by name: when other threads open many files, the cache may drop this one.
            file = self._open(f"{self._root}/{shard}")
            return memory[: os.preadv(file.number, buffers, begin)]
        except OSError:
            with self._store.errors("read", shard):
                raise


class _OpenFile:
    """File descriptor that is closed when the last thread lets go of it."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)
