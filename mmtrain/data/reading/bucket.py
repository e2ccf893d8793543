"""Reading byte ranges from a bucket: retries, deadlines, and a race where a read is slow.

One thread runs an event loop in which all requests wait; a request that lost or came too late is
cancelled there, and holds neither a thread nor a connection. A read is tried again when it failed
in a way that may pass, with a pause that doubles (obstore does not tell what Retry-After asks); a
deadline bounds every request, and another the read as a whole. The race is that of Dean and
Barroso, The Tail at Scale, CACM 2013.
"""

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Final

import numpy as np

from mmprep.errors import StoreError
from mmprep.storage.store import BucketStore
from mmtrain.data.reading.local import Bytes
from mmtrain.data.reading.options import Loading
from mmtrain.data.reading.traffic import Traffic

# A race costs a request: at most this share of them, and only beyond twice the 95th percentile.
_HEDGED_SHARE: Final = 0.05
_HEDGE_QUANTILE: Final = 0.95
_HEDGE_FACTOR: Final = 2.0
_HEDGE_LEAST_S: Final = 0.005
_RECENT: Final = 256
_JUDGED_EVERY: Final = 32


class Pace:
    """How long reads take of late, and which are slow enough to be raced."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._seen = self._hedged = 0
        self.limit_s: float | None = None

    def took(self, seconds: float) -> None:
        """Takes note of a read that succeeded."""
        self._seen += 1
        self._recent.append(seconds)
        if self._seen % _JUDGED_EVERY == 0:
            slow = sorted(self._recent)[int(_HEDGE_QUANTILE * len(self._recent))]
            self.limit_s = max(_HEDGE_LEAST_S, _HEDGE_FACTOR * slow)

    def may_hedge(self) -> bool:
        """Whether one more read may be raced; counts it if so."""
        if self._hedged + 1 > _HEDGED_SHARE * self._seen:
            return False
        self._hedged += 1
        return True


class Remote:
    """Reads from one bucket for many threads. To be closed.

    Args:
        store: The bucket.
        loading: Requests at once, patience, and whether slow reads are raced.
    """

    def __init__(self, store: BucketStore, loading: Loading) -> None:
        self._store, self._client = store, store.client()
        self._patience, self._hedge = loading.patience, loading.hedge
        self._pace = Pace()
        self._free = asyncio.Semaphore(loading.requests)
        self._closing, self._closed = threading.Lock(), False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="mmtrain-remote", daemon=True)
        self._thread.start()

    def fetch(
        self, shard: str, spans: Sequence[tuple[int, int]], traffic: Traffic
    ) -> Iterator[Bytes]:
        """The bytes of each span, in turn; all are read at once, before the first is used.

        Args:
            shard: Path of the shard.
            spans: First byte, and the byte behind the last, of each.
            traffic: Where to count.

        Raises:
            StoreError: The bucket refuses, or no try within the deadline has succeeded.
        """
        with self._closing:
            if self._closed:
                raise StoreError(f"cannot read {self._store.url}/{shard}: reading was ended")
            found = asyncio.run_coroutine_threadsafe(self._all(shard, spans, traffic), self._loop)
        try:
            return iter(found.result())
        except CancelledError as error:
            raise StoreError(f"cannot read {self._store.url}/{shard}: reading was ended") from error

    def close(self) -> None:
        """Ends every read that goes on."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(_end_others())
        finally:
            self._loop.close()

    async def _all(
        self, shard: str, spans: Sequence[tuple[int, int]], traffic: Traffic
    ) -> list[Bytes]:
        reads = [asyncio.create_task(self._read(shard, *span, traffic)) for span in spans]
        try:
            return await asyncio.gather(*reads)
        finally:
            for read in reads:
                read.cancel()

    async def _read(self, shard: str, begin: int, end: int, traffic: Traffic) -> Bytes:
        """One span, in as many tries as it takes."""
        patience, started, pause, tries = self._patience, time.monotonic(), 0.0, 0
        while True:
            tries += 1
            try:
                with self._store.errors("read", shard):
                    return await self._once(shard, begin, end, traffic)
            except StoreError as error:
                if not passes(error.__cause__):
                    raise
                pause = patience.backoff_s * 2 ** (tries - 1) * random.uniform(0.5, 1)
                elapsed = time.monotonic() - started
                if tries >= patience.tries or elapsed + pause > patience.give_up_s:
                    raise StoreError(
                        f"{error}. Gave up after {tries} tries in {elapsed:.1f} s; when the store "
                        "answers again, run the same command with --resume"
                    ) from error
            traffic.retries += 1
            await asyncio.sleep(pause)

    async def _once(self, shard: str, begin: int, end: int, traffic: Traffic) -> Bytes:
        """One try, which may be two requests that race."""
        async with self._free:
            started = time.monotonic()
            try:
                async with asyncio.timeout(self._patience.deadline_s):
                    data = await self._raced(shard, begin, end, traffic)
            except TimeoutError as error:
                raise TimeoutError(f"no answer in {self._patience.deadline_s:g} s") from error
            self._pace.took(time.monotonic() - started)
        if len(data) != end - begin:
            raise ConnectionError(f"{len(data)} bytes came in place of {end - begin}")
        traffic.bytes += len(data)
        return data

    async def _raced(self, shard: str, begin: int, end: int, traffic: Traffic) -> Bytes:
        limit_s = self._pace.limit_s
        if not self._hedge or limit_s is None:
            return await self._request(shard, begin, end, traffic)
        racers = {asyncio.create_task(self._request(shard, begin, end, traffic))}
        try:
            await asyncio.wait(racers, timeout=limit_s)
            if not next(iter(racers)).done() and self._pace.may_hedge():
                traffic.hedged += 1
                racers.add(asyncio.create_task(self._request(shard, begin, end, traffic)))
            return await _first(racers)
        finally:
            for racer in racers:
                racer.cancel()

    async def _request(self, shard: str, begin: int, end: int, traffic: Traffic) -> Bytes:
        import obstore

        traffic.requests += 1
        found = await obstore.get_range_async(self._client, shard, start=begin, end=end)
        data: Bytes = np.frombuffer(memoryview(found), np.uint8)
        return data


def passes(error: BaseException | None) -> bool:
    """Whether what went wrong may go right next time."""
    from obstore.exceptions import GenericError

    # 400 and its like come as a general error; 408 and 429 ask to try again.
    refused = " status code: 4" in str(error)
    later = " status code: 408" in str(error) or " status code: 429" in str(error)
    transient = isinstance(error, (GenericError, TimeoutError, ConnectionError))
    return transient and (later or not refused)


async def _end_others() -> None:
    """Cancels every task but this one, and waits until they have let go of what they hold."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _first(racers: "set[asyncio.Task[Bytes]]") -> Bytes:
    """What the first that succeeds gives, or the failure of the last."""
    waiting = racers
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        won = [racer for racer in done if not racer.exception()]
        if won or not waiting:
            return (won or [*done])[0].result()
