"""Ways that take turns for several rounds, and what they are of each other in each round."""

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from bench_loader import VIEW, Way, processor_s

from mmtrain.curricula.bss import BSSL
from mmtrain.data import OrderedStream, SampleOrder, ShardedDataset, StreamOptions

BOTH = ("audio", "visual")
EPOCHS = 2  # In one, so that starting and stopping of threads weighs little.


class Row(NamedTuple):
    """One line of the table. ``most`` says whether the target is the largest or least value."""

    name: str
    value: float
    target: float
    most: bool
    note: str = ""

    def line(self) -> str:
        """As it is printed."""
        met = self.value <= self.target if self.most else self.value >= self.target
        sign = "<=" if self.most else ">="
        return (
            f"{self.name:52} {self.value:8.3f}  {sign} {self.target:<6g}"
            f"{'ok  ' if met else 'MISS'}  {self.note}"
        )


def by_turns(ways: Mapping[str, Way], rounds: int) -> dict[str, list[float]]:
    """Samples a second of each way in each round, behind one that warms up."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    used: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(rounds + 1):
        for name, way in ways.items():
            begin, before = time.perf_counter(), processor_s()
            count = way()
            if i:
                found[name].append(count / (time.perf_counter() - begin))
                used[name].append((processor_s() - before) / count * 1e6)
    for name, speeds in found.items():
        print(
            f"  {name:20} {statistics.median(speeds):7.0f} samples/s, "
            f"{statistics.median(used[name]):6.0f} us of CPU (that of a store apart)"
        )
    return found


def ratio(
    name: str, ours: list[float], other: list[float], target: float, *, most: bool = False
) -> Row:
    """The median of what ``ours`` is of ``other``, round by round."""
    pairs = [one / two for one, two in zip(ours, other, strict=True)]
    note = f"({min(pairs):.3f} to {max(pairs):.3f})"
    return Row(name, statistics.median(pairs), target, most, note)


def scored(count: int) -> BSSL:
    """A curriculum with scores as training might give them."""
    made, generator = BSSL(), np.random.default_rng(0)
    similarity = generator.random(count, np.float32)
    loss = generator.exponential(2, count).astype(np.float32)
    if made.memory is None:
        raise TypeError("bss-l has no memory")
    made.memory.refresh(0, count, lambda: {"similarity": similarity, "loss": loss})
    return made


def orders(data: ShardedDataset) -> dict[str, SampleOrder]:
    """Several epochs in the order of the shards, and as many drawn by score."""
    ids = data.ids("train")
    curriculum = scored(len(ids))
    drawn = [curriculum.visits(ids, 0, epoch).ids for epoch in range(EPOCHS)]
    return {
        "sequential": SampleOrder(np.tile(ids, EPOCHS)),
        "bss-l": SampleOrder(np.concatenate(drawn)),
    }


def begin_stream(
    data: ShardedDataset,
    order: SampleOrder,
    args: argparse.Namespace,
    modalities: Sequence[str] = BOTH,
) -> OrderedStream:
    """A stream that stands at the beginning of an order."""
    loading = StreamOptions(workers=args.workers)
    made = OrderedStream(data, modalities, args.batch_size, VIEW, options=loading)
    made.begin(order, seed=0, epoch=0)
    return made


def stream(data: ShardedDataset, order: SampleOrder, args: argparse.Namespace) -> Way:
    """A way that hands out all batches of an order."""
    # One for all rounds, as training has one for all epochs.
    made = begin_stream(data, order, args)

    def run() -> int:
        made.begin(order, seed=0, epoch=0)
        return sum(map(len, made))

    return run
