"""A store, a cache and a clock that are models: nothing is read, kept or waited for."""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Final

from mmprep.format import Index
from mmtrain.data.reading.cache import _LARGEST_PACK, _LEAST_PACK, _PACKS, _PASSES
from mmtrain.data.reading.packs import ENTRY, MAGIC

_P99: Final = 2.3263478740408408  # standard deviations of a normal distribution


@dataclass(frozen=True, kw_only=True)
class StoreModel:
    """How a store answers the ranks that are simulated.

    Attributes:
        latency_s: Median time to the first byte.
        latency_p99_s: 99th percentile of it; the logarithm is normal.
        connection: Bytes a second of one request.
        total: Bytes a second of all together; first byte first.
        rate: Requests a second that are let in.
        errors: Share of requests that fail, in [0, 1), each when its first byte was due.
    """

    latency_s: float = 0.0
    latency_p99_s: float = 0.0
    connection: float = math.inf
    total: float = math.inf
    rate: float = math.inf
    errors: float = 0.0


class Clock:
    """Virtual seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Does something later; of things due together, the first asked for first."""
        heapq.heappush(self._due, (when, next(self._number), do))

    def run(self) -> None:
        """Until nothing is due."""
        while self._due:
            self.now, _, do = heapq.heappop(self._due)
            do()


class Gate:
    """A semaphore that lets in whoever came first."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[Callable[[], None]] = deque()

    def enter(self, go: Callable[[], None]) -> None:
        """Goes when there is a place."""
        if self._free:
            self._free -= 1
            go()
        else:
            self._waiting.append(go)

    def leave(self) -> None:
        """Gives the place to the next."""
        if self._waiting:
            self._waiting.popleft()()
        else:
            self._free += 1


class Store:
    """Answers requests."""

    def __init__(self, clock: Clock, model: StoreModel, seed: int) -> None:
        self._clock, self._model, self.random = clock, model, random.Random(seed)
        self._let_in = self._link = 0.0
        tail = model.latency_s and math.log(max(1.0, model.latency_p99_s / model.latency_s))
        self._sigma = tail / _P99

    def request(self, size: int, until: float, done: Callable[[bool], None]) -> None:
        """Asks for ``size`` bytes; ``done`` is told whether they came before ``until``."""
        clock, model = self._clock, self._model
        self._let_in = max(clock.now, self._let_in) + 1 / model.rate
        latency = model.latency_s * math.exp(self._sigma * self.random.gauss(0, 1))
        fails = self.random.random() < model.errors

        def first_byte() -> None:
            if fails or clock.now >= until:
                done(False)
                return
            self._link = max(clock.now, self._link) + size / model.total
            end = max(self._link, clock.now + size / model.connection)
            clock.at(min(end, until), lambda: done(end <= until))

        clock.at(min(self._let_in + latency, until), first_byte)


class CacheModel:
    """Members that `mmtrain.data.reading.cache.Cache` would have: its packs and rules, no files.

    All ranks of a machine know at once what one has written, and write to the same pack.
    """

    def __init__(self, limit: int, index: Index) -> None:
        self._limit, self._size = limit, index.size
        self.pack_bytes = min(max(limit // _PACKS, min(_LEAST_PACK, limit // 4)), _LARGEST_PACK)
        self._where: dict[int, _Pack] = {}
        self._packs: list[_Pack] = []
        self._writer: _Pack | None = None
        self._passes = deque([0], maxlen=_PASSES)
        self._uses = count(1)
        self._full = False

    def begin(self) -> None:
        """A pass over an order begins."""
        self._passes.append(next(self._uses))
        self._full = False

    def get(self, number: int) -> bool:
        """Whether a member is here."""
        pack = self._where.get(number)
        if pack is None or pack.gone:
            self._where.pop(number, None)
            return False
        pack.used = next(self._uses)
        return True

    def put(self, number: int) -> None:
        """Keeps a member, if there is room."""
        size = int(self._size[number])
        if number not in self._where and (pack := self._room(size)) is not None:
            pack.end += size
            pack.members += 1
            pack.used = next(self._uses)
            self._where[number] = pack

    def _room(self, size: int) -> "_Pack | None":
        if self._writer is not None and self._writer.end + size <= self.pack_bytes:
            return self._writer
        if self._full or size > self.pack_bytes:
            return None
        fits = (pack for pack in self._packs if pack.end + size <= self.pack_bytes)
        self._writer = next(fits, None) or self._new()
        self._full = self._writer is None
        return self._writer

    def _new(self) -> "_Pack | None":
        tables = sum(len(MAGIC) + ENTRY.itemsize * pack.members for pack in self._packs)
        used = self.pack_bytes * len(self._packs) + tables
        for pack in sorted(self._packs, key=lambda pack: pack.used):
            if used + self.pack_bytes <= self._limit or pack.used >= self._passes[0]:
                break
            pack.gone = True
            used -= self.pack_bytes + len(MAGIC) + ENTRY.itemsize * pack.members
        self._packs = [pack for pack in self._packs if not pack.gone]
        if used + self.pack_bytes > self._limit:
            return None
        self._packs.append(_Pack())
        return self._packs[-1]


@dataclass(eq=False)
class _Pack:
    end: int = 0
    members: int = 0
    used: int = 0
    gone: bool = False
