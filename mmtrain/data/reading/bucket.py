"""Reads byte ranges from a bucket, with retries, deadlines, and second requests for slow ones.

One thread runs an event loop in which all requests wait; a request that is no longer needed is
cancelled there, and holds neither a thread nor a connection. A read is repeated by the rule of
`mmprep.storage.retries`; one deadline bounds every request, another the read as a whole. Slow reads
are hedged as by Dean and Barroso, The Tail at Scale, CACM 2013.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import Final

import numpy as np

from mmprep.errors import StoreError
from mmprep.storage.retries import Patience
from mmprep.storage.store import BucketStore
from mmtrain.data.reading.local import Bytes
from mmtrain.data.reading.options import StreamOptions
from mmtrain.data.reading.traffic import Traffic

# Hedging costs a request, so at most this share of the reads may be hedged, and only those that
# take longer than twice the 95th percentile of the last 256.
_HEDGED_SHARE: Final = 0.05
_HEDGE_QUANTILE: Final = 0.95
_HEDGE_FACTOR: Final = 2.0
_HEDGE_LEAST_S: Final = 0.005
_RECENT: Final = 256
# Reads between two computations of the percentile, which sorts.
_UPDATE_EVERY: Final = 32
_ADVICE: Final = "; when the store answers again, run the same command with --resume"


class HedgeRule:
    """Decides from the durations of recent reads which reads are slow enough for a second request.

    Attributes:
        after_s: Seconds after which a read counts as slow; None until enough have been seen.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._seen = self._hedged = 0
        self.after_s: float | None = None

    def record(self, seconds: float) -> None:
        """Records the duration of a read that succeeded."""
        self._seen += 1
        self._recent.append(seconds)
        if self._seen % _UPDATE_EVERY == 0:
            slow = sorted(self._recent)[int(_HEDGE_QUANTILE * len(self._recent))]
            self.after_s = max(_HEDGE_LEAST_S, _HEDGE_FACTOR * slow)

    def may_hedge(self) -> bool:
        """Decides whether one more read may be hedged, and counts it if so."""
        if self._hedged + 1 > _HEDGED_SHARE * self._seen:
            return False
        self._hedged += 1
        return True


class BucketReader:
    """Reads from one bucket for many threads. Close it when done.

    Args:
        store: Bucket to read.
        options: Requests at once, retries, and whether slow reads are hedged.
    """

    def __init__(self, store: BucketStore, options: StreamOptions) -> None:
        self._store, self._client = store, store.client()
        self._retry, self._hedge = options.retry, options.hedge
        self._hedging = HedgeRule()
        self._free = asyncio.Semaphore(options.requests)
        self._closing, self._closed = threading.Lock(), False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="mmtrain-bucket", daemon=True)
        self._thread.start()

    def read(self, shard: str, ranges: Sequence[tuple[int, int]], traffic: Traffic) -> list[Bytes]:
        """Reads byte ranges of a shard, all at once.

        Args:
            shard: Path of the shard.
            ranges: First byte of each range and the byte behind its last.
            traffic: Counts to add to.

        Raises:
            StoreError: The bucket refuses, or no try within the deadline has succeeded.
        """
        # Locked, or a loop that `close` has just stopped would leave this thread waiting forever.
        with self._closing:
            if self._closed:
                raise StoreError(f"cannot read {self._store.url}/{shard}: reading was ended")
            reads = asyncio.run_coroutine_threadsafe(
                self._read_all(shard, ranges, traffic), self._loop
            )
        try:
            return reads.result()
        except CancelledError as error:
            raise StoreError(f"cannot read {self._store.url}/{shard}: reading was ended") from error

    def close(self) -> None:
        """Cancels every read that is under way."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(_cancel_other_tasks())
        finally:
            self._loop.close()

    async def _read_all(
        self, shard: str, ranges: Sequence[tuple[int, int]], traffic: Traffic
    ) -> list[Bytes]:
        reads = [asyncio.create_task(self._read_range(shard, *each, traffic)) for each in ranges]
        try:
            return await asyncio.gather(*reads)
        finally:
            for read in reads:
                read.cancel()

    async def _read_range(self, shard: str, begin: int, end: int, traffic: Traffic) -> Bytes:
        """Reads one range, in as many tries as it takes."""
        patience = Patience(self._retry.give_up_s, self._retry.backoff_s, advice=_ADVICE)
        while True:
            try:
                with self._store.errors("read", shard):
                    return await self._try_once(shard, begin, end, traffic)
            except StoreError as error:
                pause = patience.pause_after(error)
            traffic.retries += 1
            await asyncio.sleep(pause)

    async def _try_once(self, shard: str, begin: int, end: int, traffic: Traffic) -> Bytes:
        """Makes one try, which may be two requests that race."""
        async with self._free:
            started = time.monotonic()
            try:
                async with asyncio.timeout(self._retry.deadline_s):
                    data = await self._request_with_hedge(shard, begin, end, traffic)
            except TimeoutError as error:
                raise TimeoutError(f"no answer in {self._retry.deadline_s:g} s") from error
            self._hedging.record(time.monotonic() - started)
        if len(data) != end - begin:
            raise ConnectionError(f"{len(data)} bytes came in place of {end - begin}")
        traffic.bytes += len(data)
        return data

    async def _request_with_hedge(
        self, shard: str, begin: int, end: int, traffic: Traffic
    ) -> Bytes:
        after_s = self._hedging.after_s
        if not self._hedge or after_s is None:
            return await self._request(shard, begin, end, traffic)
        racers = {asyncio.create_task(self._request(shard, begin, end, traffic))}
        try:
            await asyncio.wait(racers, timeout=after_s)
            if not next(iter(racers)).done() and self._hedging.may_hedge():
                traffic.hedged += 1
                racers.add(asyncio.create_task(self._request(shard, begin, end, traffic)))
            return await _first_success(racers)
        finally:
            for racer in racers:
                racer.cancel()

    async def _request(self, shard: str, begin: int, end: int, traffic: Traffic) -> Bytes:
        import obstore

        traffic.requests += 1
        response = await obstore.get_range_async(self._client, shard, start=begin, end=end)
        data: Bytes = np.frombuffer(memoryview(response), np.uint8)
        return data


async def _cancel_other_tasks() -> None:
    """Cancels every task but this one, and waits until they have let go of what they hold."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _first_success(racers: "set[asyncio.Task[Bytes]]") -> Bytes:
    """Returns the result of the first request that succeeds; raises the error of the last."""
    waiting = racers
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        succeeded = [racer for racer in done if not racer.exception()]
        if succeeded or not waiting:
            return (succeeded or [*done])[0].result()
