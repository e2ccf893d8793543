"""Reading byte ranges: from a local disk into memory that is used again, or from any store."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmprep.storage.store import LocalStore, Store

Bytes: TypeAlias = NDArray[np.uint8]
# Shard and byte ranges to the bytes of each in turn, which hold until the next.
Fetch: TypeAlias = Callable[[str, Sequence[tuple[int, int]]], Iterator[Bytes]]
# Memory into which the bytes of a shard go from some byte on, in the order of the bytes.
Aside: TypeAlias = Sequence[tuple[int, Bytes]]

_OPEN_FILES: Final = 256
_NOTHING: Final = np.empty(0, np.uint8)


def fetcher(store: Store) -> Fetch:
    """What reads from ``store``; safe to share between threads.

    Raises:
        StoreError: When called: the disk or bucket refuses.
    """

    def fetch(shard: str, spans: Sequence[tuple[int, int]]) -> Iterator[Bytes]:
        # All before the first is used: who waits for a bucket must not keep others from decoding.
        return iter([np.frombuffer(store.read(shard, *span), np.uint8) for span in spans])

    return fetch


class LocalReader:
    """Reads a local disk, into memory that each thread uses again; safe to share between them."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._opened = lru_cache(maxsize=_OPEN_FILES)(_Opened)
        self._scratch = threading.local()

    def read(
        self, shard: str, spans: Sequence[tuple[int, int]], asides: Sequence[Aside]
    ) -> Iterator[Bytes]:
        """The bytes of each span in turn, which hold until the next.

        Args:
            shard: Path of the shard.
            spans: First byte and the byte behind the last.
            asides: For each span, what of it goes elsewhere; there its own bytes are undefined.

        Raises:
            StoreError: The disk refuses.
        """
        memory: Bytes = getattr(self._scratch, "memory", _NOTHING)
        try:
            # Held here, or another thread's opening of the same file may close this one.
            file = self._opened(f"{self._store.root}/{shard}")
            # One at a time, into the same memory, so that it is still in the cache when it is used.
            for (begin, end), aside in zip(spans, asides, strict=True):
                length = end - begin
                if len(memory) < length:
                    memory = self._scratch.memory = np.empty(length, np.uint8)
                room, at, buffers = memory.data, 0, []
                for start, other in aside:
                    buffers += [room[at : start - begin], other.data]
                    at = start - begin + len(other)
                buffers.append(room[at:length])
                yield memory[: os.preadv(file.number, buffers, begin)]
        except OSError:
            with self._store.errors("read", shard):
                raise


class _Opened:
    """A file that is closed when the last thread lets go of it."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)
