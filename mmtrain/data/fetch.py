"""Reading byte ranges: from a local disk into memory that is used again, or from any store."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmprep.store import LocalStore, Store

Bytes: TypeAlias = NDArray[np.uint8]
# Shard and byte ranges to the bytes of each in turn, which hold until the next.
Fetch: TypeAlias = Callable[[str, Sequence[tuple[int, int]]], Iterator[Bytes]]

_OPEN_FILES: Final = 256


def fetcher(store: Store) -> Fetch:
    """What reads from ``store``; safe to share between threads.

    Raises:
        StoreError: When called: the disk or bucket refuses.
    """
    # Not for its subclasses and wrappers: what they do in `read` must be done.
    return _local(store) if type(store) is LocalStore else _any(store)


def _any(store: Store) -> Fetch:
    def fetch(shard: str, spans: Sequence[tuple[int, int]]) -> Iterator[Bytes]:
        # All before the first is used: who waits for a bucket must not keep others from decoding.
        return iter([np.frombuffer(store.read(shard, *span), np.uint8) for span in spans])

    return fetch


def _local(store: LocalStore) -> Fetch:
    opened = lru_cache(maxsize=_OPEN_FILES)(_Opened)
    scratch = threading.local()

    def fetch(shard: str, spans: Sequence[tuple[int, int]]) -> Iterator[Bytes]:
        # One at a time, into the same memory, so that it is still in the cache when it is used.
        for begin, end in spans:
            memory: Bytes | None = getattr(scratch, "memory", None)
            if memory is None or len(memory) < end - begin:
                memory = scratch.memory = np.empty(end - begin, np.uint8)
            with store.errors("read", shard):
                # Held here, or another thread's opening of the same file may close this one.
                file = opened(f"{store.root}/{shard}")
                size = os.preadv(file.number, [memory[: end - begin].data], begin)
            yield memory[:size]

    return fetch


class _Opened:
    """A file that is closed when the last thread lets go of it."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)
