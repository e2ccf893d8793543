"""Reads byte ranges from a bucket, with retries, deadlines, and second requests for slow ones.

One thread runs an event loop in which all requests wait; a request that is no longer needed is
cancelled there, and holds neither a thread nor a connection. `mmtrain.data.reading.requests` has
the rules of one read.
"""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from mmprep.errors import StoreError
from mmprep.storage.store import BucketStore
from mmtrain.data.reading.local import Bytes
from mmtrain.data.reading.options import StreamOptions
from mmtrain.data.reading.requests import RangeRead, Requests
from mmtrain.data.reading.traffic import Traffic

_NOTHING: Final = np.empty(0, np.uint8)


class Order(NamedTuple):
    """Byte ranges of one shard that are wanted together.

    Attributes:
        shard: Path of the shard.
        ranges: First byte of each range and the byte behind its last.
        traffic: Counts to add to.
    """

    shard: str
    ranges: Sequence[tuple[int, int]]
    traffic: Traffic


class BucketReader:
    """Reads from one bucket for many threads. Close it when done.

    Args:
        store: Bucket to read.
        options: Requests at once, retries, and whether slow reads are hedged.
    """

    def __init__(self, store: BucketStore, options: StreamOptions) -> None:
        self._store = store
        self._requests = Requests(store, options)
        self._unsettled: set[_Answer] = set()
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
        [answer] = self.begin([Order(shard, ranges, traffic)])
        return answer.result()

    def begin(self, orders: Sequence[Order]) -> list[Future[list[Bytes]]]:
        """Begins to read, and returns the bytes of each order's ranges to come.

        What waits for a future by a callback runs in the thread of the requests, and must be quick.

        Args:
            orders: Ranges to read.
        """
        answers = [_Answer(self._requests, order, self._unsettled) for order in orders]
        # Locked, or a loop that `close` has just stopped would never take them up.
        with self._closing:
            if not self._closed:
                # All at once, for each call from another thread wakes that of the loop.
                self._loop.call_soon_threadsafe(self._begin, answers)
                return [answer.future for answer in answers]
        for answer in answers:
            answer.fail(self._ended(answer.order.shard))
        return [answer.future for answer in answers]

    def close(self) -> None:
        """Cancels every read that is under way."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._loop.call_soon_threadsafe(self._end)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _begin(self, answers: "Sequence[_Answer]") -> None:
        for answer in answers:
            answer.begin()

    def _end(self) -> None:
        self._requests.drop_waiting()
        for answer in [*self._unsettled]:
            answer.fail(self._ended(answer.order.shard))
        # Behind the callbacks by which the client learns that its requests are cancelled.
        self._loop.call_soon(self._loop.stop)

    def _ended(self, shard: str) -> StoreError:
        return StoreError(f"cannot read {self._store.url}/{shard}: reading was ended")


class _Answer:
    """The ranges of an order, as they come in."""

    def __init__(self, requests: Requests, order: Order, unsettled: "set[_Answer]") -> None:
        self._requests, self.order, self._unsettled = requests, order, unsettled
        self.future: Future[list[Bytes]] = Future()
        self._reads: list[RangeRead] = []
        self._data: dict[int, Bytes] = {}

    def begin(self) -> None:
        """Begins to read every range."""
        shard, ranges, traffic = self.order
        self._unsettled.add(self)
        for place, span in enumerate(ranges):
            if self.future.done():
                return
            if span[0] == span[1]:  # A bucket refuses a request for no bytes.
                self._data[place] = _NOTHING
                continue
            done = partial(self._take, place)
            self._reads.append(RangeRead(self._requests, shard, span, traffic, done))
        self._settle_if_whole()

    def fail(self, error: BaseException) -> None:
        """Ends every read that is under way, and hands on an error."""
        for read in self._reads:
            read.cancel()
        self._settle()
        if not self.future.done():
            self.future.set_exception(error)

    def _take(self, place: int, data: Bytes | BaseException) -> None:
        if isinstance(data, BaseException):
            self.fail(data)
        else:
            self._data[place] = data
            self._settle_if_whole()

    def _settle_if_whole(self) -> None:
        count = len(self.order.ranges)
        if len(self._data) == count and not self.future.done():
            data = [self._data[i] for i in range(count)]
            self._settle()
            self.future.set_result(data)

    def _settle(self) -> None:
        """Lets go of the reads and bytes, which would otherwise wait for the garbage collector."""
        self._unsettled.discard(self)
        self._reads, self._data = [], {}
