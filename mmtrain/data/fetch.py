"""Reading the spans of a job: from a local disk into memory that is used again, or from a store."""

import os
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmprep.store import LocalStore, Store

Bytes: TypeAlias = NDArray[np.uint8]
# Shard and byte ranges to their bytes, which hold until the same thread reads again.
Fetch: TypeAlias = Callable[[str, Sequence[tuple[int, int]]], list[Bytes]]

_OPEN_FILES: Final = 256


def fetcher(store: Store) -> Fetch:
    """What reads from ``store``; safe to share between threads.

    Raises:
        StoreError: When called: the disk or bucket refuses.
    """
    # Not for its subclasses and wrappers: what they do in `read` must be done.
    return _local(store) if type(store) is LocalStore else _any(store)


def _any(store: Store) -> Fetch:
    def fetch(shard: str, spans: Sequence[tuple[int, int]]) -> list[Bytes]:
        return [np.frombuffer(store.read(shard, *span), np.uint8) for span in spans]

    return fetch


def _local(store: LocalStore) -> Fetch:
    opened = lru_cache(maxsize=_OPEN_FILES)(_Opened)
    scratch = threading.local()

    def fetch(shard: str, spans: Sequence[tuple[int, int]]) -> list[Bytes]:
        sizes = [end - begin for begin, end in spans]
        # Fresh memory for half a megabyte costs more than reading it.
        memory: Bytes | None = getattr(scratch, "memory", None)
        if memory is None or len(memory) < sum(sizes):
            memory = scratch.memory = np.empty(sum(sizes), np.uint8)
        found = []
        with store.errors("read", shard):
            file = opened(f"{store.root}/{shard}")
            for (begin, _), size in zip(spans, sizes, strict=True):
                read = os.preadv(file.number, [memory[:size].data], begin)
                found.append(memory[:read])
                memory = memory[size:]
        return found

    return fetch


class _Opened:
    """A file that is closed when the last thread lets go of it."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)
