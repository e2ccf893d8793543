"""One read of a byte range: its tries, deadlines, and the second request that races a slow one.

All of it runs in the thread of an event loop, as callbacks: a task for each request, and more for
its deadline and its race, would take several times the processor time of the request itself.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from mmprep.errors import StoreError
from mmprep.storage.retries import Patience
from mmprep.storage.store import BucketStore
from mmtrain.data.reading.hedging import HedgeRule
from mmtrain.data.reading.local import Bytes
from mmtrain.data.reading.options import StreamOptions
from mmtrain.data.reading.traffic import Traffic

if TYPE_CHECKING:
    from obstore import Bytes as Body

_ADVICE: Final = "; when the store answers again, run the same command with --resume"


class Requests:
    """Requests of one bucket: at most so many reads at once, the others in turn.

    Args:
        store: Bucket to read.
        options: Requests at once, retries, and whether slow reads are hedged.

    Attributes:
        store: Bucket to read.
        client: Client that makes each request once.
        retry: Deadlines and repetitions.
        hedging: Rule by which slow reads are raced; None races none.
        active: Reads that have begun and not ended.
    """

    def __init__(self, store: BucketStore, options: StreamOptions) -> None:
        self.store, self.client, self.retry = store, store.client(), options.retry
        self.hedging = HedgeRule() if options.hedge else None
        self.active: set[RangeRead] = set()
        self._free = options.requests
        self._waiting: deque[RangeRead] = deque()

    def enter(self, read: "RangeRead") -> None:
        """Makes a try of ``read``, as soon as there is a place."""
        if self._free:
            self._free -= 1
            read.begin_try()
        else:
            self._waiting.append(read)

    def drop_waiting(self) -> None:
        """Makes no try of the reads that have no place yet."""
        self._waiting.clear()

    def leave(self) -> None:
        """Gives a place to the next read that has not ended meanwhile."""
        while self._waiting:
            read = self._waiting.popleft()
            if read in self.active:
                read.begin_try()
                return
        self._free += 1


class RangeRead:
    """One read of a range, in as many tries as it takes.

    Args:
        requests: Requests of the bucket.
        shard: Path of the shard.
        span: First byte, and the byte behind the last.
        traffic: Counts to add to.
        done: Function that takes the bytes, or the error of a read that has failed.
    """

    def __init__(
        self,
        requests: Requests,
        shard: str,
        span: tuple[int, int],
        traffic: Traffic,
        done: Callable[[Bytes | BaseException], None],
    ) -> None:
        self._requests, self._shard, self._traffic, self._done = requests, shard, traffic, done
        self._begin, self._end = span
        retry = requests.retry
        self._patience = Patience(retry.give_up_s, retry.backoff_s, advice=_ADVICE)
        self._racers: set[asyncio.Future[Body]] = set()
        self._started = 0.0
        self._timer: asyncio.Handle | None = None
        requests.active.add(self)
        requests.enter(self)

    def cancel(self) -> None:
        """Ends the read without a result: its requests are cancelled, and hold no connection."""
        if self in self._requests.active:
            self._requests.active.discard(self)
            if self._end_try():
                self._requests.leave()

    def begin_try(self) -> None:
        """Makes one try, which may become two requests that race."""
        self._started = time.monotonic()
        hedging = self._requests.hedging
        slow_s = hedging.after_s(self._end - self._begin) if hedging is not None else None
        if slow_s is not None:
            self._timer = _after(slow_s, self._race)
        else:
            self._await_deadline()
        self._request()

    def _await_deadline(self) -> None:
        left_s = self._started + self._requests.retry.deadline_s - time.monotonic()
        self._timer = _after(max(0.0, left_s), self._expire)

    def _race(self) -> None:
        """Sends a second request, if one more read may be hedged."""
        self._await_deadline()
        hedging = self._requests.hedging
        if hedging is not None and hedging.may_hedge():
            self._traffic.hedged += 1
            self._request()

    def _request(self) -> None:
        import obstore

        self._traffic.requests += 1
        client, begin, end = self._requests.client, self._begin, self._end
        try:
            answer = obstore.get_range_async(client, self._shard, start=begin, end=end)
        except Exception as error:  # Or whoever waits would wait forever.
            self._finish_try(error)
            return
        racer = asyncio.ensure_future(answer)
        self._racers.add(racer)
        racer.add_done_callback(self._take)

    def _expire(self) -> None:
        limit = self._requests.retry.deadline_s
        self._finish_try(TimeoutError(f"no answer in {limit:g} s"))

    def _take(self, racer: "asyncio.Future[Body]") -> None:
        """Takes the answer of a request, unless its try has ended."""
        # Asked for in any case, or asyncio logs an error that nobody has looked at.
        error = ConnectionError("cancelled") if racer.cancelled() else racer.exception()
        if racer not in self._racers:
            return
        self._racers.discard(racer)
        if error is None:
            self._finish_try(np.frombuffer(memoryview(racer.result()), np.uint8))
        elif not self._racers:
            self._finish_try(error)

    def _finish_try(self, answer: Bytes | BaseException) -> None:
        self._end_try()
        if not isinstance(answer, BaseException):
            if self._requests.hedging is not None:
                took_s = time.monotonic() - self._started
                self._requests.hedging.record(took_s, self._end - self._begin)
            if len(answer) != self._end - self._begin:
                wanted = self._end - self._begin
                answer = ConnectionError(f"{len(answer)} bytes came in place of {wanted}")
        self._requests.leave()
        if isinstance(answer, BaseException):
            self._retry(answer)
        else:
            self._traffic.bytes += len(answer)
            self._finish(answer)

    def _retry(self, error: BaseException) -> None:
        try:
            with self._requests.store.errors("read", self._shard):
                raise error
        except StoreError as refusal:
            try:
                pause_s = self._patience.pause_after(refusal)
            except StoreError as last:
                self._finish(last)
                return
        except Exception as fault:  # A mistake of ours, for whoever waits.
            self._finish(fault)
            return
        self._traffic.retries += 1
        self._timer = _pause(pause_s, self._enter_again)

    def _enter_again(self) -> None:
        self._timer = None
        self._requests.enter(self)

    def _finish(self, result: Bytes | BaseException) -> None:
        self._requests.active.discard(self)
        self._done(result)

    def _end_try(self) -> bool:
        """Drops the timer and the requests that are left; returns whether there was a request."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        racing, self._racers = self._racers, set()
        for racer in racing:
            racer.cancel()
        return bool(racing)


def _after(seconds: float, act: Callable[[], None]) -> asyncio.Handle:
    """Calls ``act`` in the running loop after a while."""
    return asyncio.get_running_loop().call_later(seconds, act)


def _pause(seconds: float, act: Callable[[], None]) -> asyncio.Handle:
    """Calls ``act`` after the pause between two tries."""
    return _after(seconds, act)
