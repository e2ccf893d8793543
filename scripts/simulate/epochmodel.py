"""An epoch on a virtual clock: what `OrderedStream` does, against a store that is a model.

Real are the order, the slots, the choice of frames, the planner of reads
(`mmtrain.data.reading.plan`), the rule by which slow reads are raced (`HedgeRule`) and its counts
(`Traffic`). The threads, the store and the cache are models with the limits and the patience of
the real ones. Nothing sleeps.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from storemodel import CacheModel, Clock, Gate, Store, StoreModel

from mmprep.format import Index
from mmprep.storage.retries import LONGEST_PAUSE_S
from mmtrain.data import SampleOrder, StreamOptions, View
from mmtrain.data.order import Share, slots
from mmtrain.data.reading.hedging import HedgeRule
from mmtrain.data.reading.members import _GAP_BUCKET, plan_bucket
from mmtrain.data.reading.plan import Job, Span, Visit, spans_of
from mmtrain.data.reading.traffic import Traffic


@dataclass(frozen=True, kw_only=True)
class Training:
    """Requests of a training, and the time that everything but reading takes.

    Attributes:
        shown: Part to how many of its members a visit shows.
        batch_size: Visits a step, of all ranks together.
        ranks: Number of ranks of the run.
        simulated: Number of ranks to simulate: those of one machine, which share a cache.
        decode_s: Seconds that one thread takes to decode a sample.
        step_s: Seconds from a batch to the request for the next one.
        plan_s: Seconds of planning for a batch; None measures the planner here.
        loading: Options of the real stream.
    """

    shown: Mapping[str, int]
    batch_size: int = 64
    ranks: int = 1
    simulated: int = 1
    decode_s: float = 0.0
    step_s: float = 0.0
    plan_s: float | None = None
    loading: StreamOptions = field(default_factory=StreamOptions)


class Rank:
    """The threads of one rank, and what they have counted."""

    def __init__(self, index: Index, clock: Clock, store: Store, training: Training) -> None:
        loading = training.loading
        self.index, self.clock, self.store, self.patience = index, clock, store, loading.retry
        self.requests, self.decoders = Gate(loading.requests), Gate(loading.decoders)
        self.pace = HedgeRule() if loading.hedge else None
        self.decode_s, self.traffic = training.decode_s, Traffic()
        self.wanted = self.given_up = 0
        self.waited_s = 0.0

    def work(self, job: Job, cache: CacheModel | None, done: Callable[[], None]) -> None:
        """Reads a job, for which no thread waits, and decodes it as soon as one is free."""
        pieces = [*job.pieces]
        held = {p.number for p in pieces if cache is not None and cache.get(p.number)}
        rest = [piece for piece in pieces if piece.number not in held]
        spans = job.spans if not held else spans_of(self.index, rest, _GAP_BUCKET) if rest else []
        self.wanted += len(pieces)
        self.traffic.cache_hits += len(held)
        self.traffic.cache_bytes += int(self.index.size[[*held]].sum()) if held else 0
        left = len(spans)

        def decode() -> None:
            for span in spans if cache is not None else ():
                _keep(cache, span)
            self.decoders.enter(start)

        def start() -> None:
            visits = len({piece.visit for piece in pieces})
            self.clock.at(self.clock.now + self.decode_s * visits, finish)

        def finish() -> None:
            self.decoders.leave()
            done()

        def arrived() -> None:
            nonlocal left
            left -= 1
            if not left:
                decode()

        for span in spans:
            Read(self, span.end - span.begin, arrived)
        if not spans:
            decode()


class Read:
    """Reads one span, in as many tries as it takes, as `mmtrain.data.reading.bucket` does."""

    def __init__(self, rank: Rank, size: int, arrived: Callable[[], None]) -> None:
        self._rank, self._size, self._arrived = rank, size, arrived
        self._tries = self._racing = 0
        self._began, self._started = rank.clock.now, 0.0
        rank.requests.enter(self._attempt)

    def _attempt(self) -> None:
        rank = self._rank
        self._tries += 1
        self._started = rank.clock.now
        self._request()
        slow_s = rank.pace.after_s(self._size) if rank.pace is not None else None
        if slow_s is not None:
            tries = self._tries
            rank.clock.at(rank.clock.now + slow_s, lambda: self._race(tries))

    def _race(self, tries: int) -> None:
        pace = self._rank.pace
        if tries == self._tries and self._racing and pace is not None and pace.may_hedge():
            self._rank.traffic.hedged += 1
            self._request()

    def _request(self) -> None:
        self._racing += 1
        self._rank.traffic.requests += 1
        tries, until = self._tries, self._started + self._rank.patience.deadline_s
        self._rank.store.request(self._size, until, lambda good: self._ended(tries, good))

    def _ended(self, tries: int, good: bool) -> None:
        if tries != self._tries or not self._racing:
            return  # It lost a race.
        self._racing -= 1
        if not good and self._racing:
            return
        self._racing = 0
        rank, now = self._rank, self._rank.clock.now
        rank.requests.leave()
        if good:
            if rank.pace is not None:
                rank.pace.record(now - self._started, self._size)
            rank.traffic.bytes += self._size
            self._arrived()
            return
        longest = min(rank.patience.backoff_s * 2 ** (self._tries - 1), LONGEST_PAUSE_S)
        pause = longest * rank.store.random.uniform(0.5, 1)
        if now - self._began + pause > rank.patience.give_up_s:
            rank.given_up += 1
            self._arrived()
            return
        rank.traffic.retries += 1
        rank.clock.at(now + pause, lambda: rank.requests.enter(self._attempt))


@dataclass(kw_only=True)
class Epoch:
    """Result of a simulated epoch. Times are virtual, apart from planning.

    Attributes:
        visits: Visits of the simulated ranks.
        seconds: Seconds from the first request to the end of the last step.
        waited_s: Seconds of these that a rank waited for its own batch, on average.
        traffic: Traffic of the simulated ranks.
        wanted: Number of members that they wanted.
        given_up: Reads that failed for good; a real run stops at the first.
        plan_s: Real seconds of planning a batch, on average.
    """

    visits: int = 0
    seconds: float = 0.0
    waited_s: float = 0.0
    traffic: Traffic = field(default_factory=Traffic)
    wanted: int = 0
    given_up: int = 0
    plan_s: float = 0.0


def jobs_of(
    index: Index, order: SampleOrder, start: int, training: Training, rank: int, epoch: int
) -> tuple[int, list[Job]]:
    """Slots of a rank at the step whose first visit is ``start``, and the real plan for them."""
    taken = slots(len(order), start, training.batch_size, Share(rank=rank, ranks=training.ranks))
    end = min(start + training.batch_size, len(order))
    draws = View(frames=max(training.shown.values())).draws(0, epoch, start, end)
    places = {part: index.parts.index(part) for part in training.shown}
    views = {part: View(frames=shown) for part, shown in training.shown.items()}
    wants = []
    for position in taken.positions.tolist():
        sample, own = int(order.ids[position]), draws[position - start]
        counts: NDArray[np.uint16] = index.counts[sample]
        chosen = {
            part: views[part].choose_frames(int(counts[at]), own) for part, at in places.items()
        }
        wants.append(Visit(sample, chosen))
    jobs = plan_bucket(index, wants, training.loading, awaited=not start)
    return len(wants) - int(taken.filler.sum()), jobs


def simulate(
    index: Index,
    order: SampleOrder,
    training: Training,
    store: StoreModel,
    *,
    epoch: int = 0,
    cache: CacheModel | None = None,
) -> Epoch:
    """One epoch over ``order``; ranks go in step, as they do where gradients are averaged."""
    clock, out = Clock(), Epoch()
    served = Store(clock, store, epoch)
    ranks = [Rank(index, clock, served, training) for _ in range(training.simulated)]
    starts = range(0, len(order), training.batch_size)
    left = {(step, rank): -1 for step in range(len(starts)) for rank in range(len(ranks))}
    asked, waiting, ahead = 0, -1, training.loading.ahead
    planning: list[float] = []
    planner_free = 0.0
    if cache is not None:
        cache.begin()

    def submit(step: int, planned: Sequence[list[Job]]) -> None:
        for number, (rank, jobs) in enumerate(zip(ranks, planned, strict=True)):
            left[step, number] = len(jobs)
            for job in jobs:
                rank.work(job, cache, lambda number=number: done(step, number))
            if not jobs and step == waiting:
                rank.waited_s += clock.now
                go(step)

    def ask(step: int) -> None:
        """Every rank hands on what comes into reach to its planner, and waits for its batch."""
        nonlocal asked, planner_free
        while asked < min(step + ahead + 1, len(starts)):
            planned, slowest = [], 0.0
            for number in range(len(ranks)):
                begin = time.perf_counter()
                live, jobs = jobs_of(index, order, starts[asked], training, number, epoch)
                planning.append(time.perf_counter() - begin)
                slowest = max(slowest, planning[-1])
                planned.append(jobs)
                out.visits += live
            planner_free = max(planner_free, clock.now)
            planner_free += slowest if training.plan_s is None else training.plan_s
            clock.at(planner_free, lambda step=asked, planned=planned: submit(step, planned))
            asked += 1
        now = clock.now
        clock.at(now, lambda: wait(step, now))

    def wait(step: int, since: float) -> None:
        nonlocal waiting
        waiting = step
        for number, rank in enumerate(ranks):
            rank.waited_s -= since if left[step, number] else 0.0
        go(step)

    def done(step: int, number: int) -> None:
        left[step, number] -= 1
        if not left[step, number] and step == waiting:
            ranks[number].waited_s += clock.now
            go(step)

    def go(step: int) -> None:
        if any(left[step, number] for number in range(len(ranks))):
            return
        out.seconds = clock.now + training.step_s
        if step + 1 < len(starts):
            clock.at(out.seconds, lambda: ask(step + 1))

    ask(0)
    clock.run()
    for rank in ranks:
        out.traffic.add(rank.traffic)
        out.wanted += rank.wanted
        out.given_up += rank.given_up
        out.waited_s += rank.waited_s / len(ranks)
    out.plan_s = sum(planning) / len(planning)
    return out


def _keep(cache: CacheModel, span: Span) -> None:
    for piece in span.pieces:
        cache.put(piece.number)
    for piece, following in pairwise(span.pieces):
        for number in range(piece.number + 1, following.number):
            cache.put(number)
