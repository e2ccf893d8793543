#!/usr/bin/env python
"""Simulates epochs of any number of samples on any number of ranks, before they are paid for.

    scripts/simulate/simulate_epoch.py --samples 184000 --ranks 8 --step-ms 250 --decode-ms 4 \
        --latency-ms 30 --latency-p99-ms 150 --errors 0.001 --total-mb 3000

Writes an index of so many samples, maps it as training does, draws the real order, and runs the
real planner of reads against a store on a virtual clock (`epochmodel.py` says what is a model).
The ranks of one machine are simulated; the others are taken to be like them. Where their visits
are more than `--visits`, a random share of all samples is kept, and of the cache as much; counts
are then scaled up, and the output says by how much. The pass in which bss-l scores is left out.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import torch
from epochmodel import Epoch, Training, simulate
from numpy.typing import NDArray
from storemodel import CacheModel, StoreModel
from torch import Tensor

from mmprep.format import INDEX, Index
from mmprep.format.columns import TABLES
from mmprep.format.tar import BLOCK
from mmtrain.curricula.bss import BSSL, COLUMNS
from mmtrain.curricula.uniform import Uniform
from mmtrain.data import SampleOrder, StreamOptions

CURRICULA: Final = {"uniform": Uniform, "bss-l": BSSL}
_CHUNK: Final = 1 << 19  # samples that are drawn at a time
_CLASSES: Final = 309


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of every sample: ``members`` of ``size`` bytes on average, of which some are shown."""

    name: str
    members: int
    size: int
    shown: int = 0

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Reads ``NAME:MEMBERS:BYTES:SHOWN``."""
        name, *numbers = text.split(":")
        try:
            members, size, shown = map(int, numbers)
        except ValueError as error:
            raise argparse.ArgumentTypeError("a part is NAME:MEMBERS:BYTES:SHOWN") from error
        if not 0 < shown <= members or size < 1:
            raise argparse.ArgumentTypeError(f"{text}: 0 < SHOWN <= MEMBERS and BYTES above 0")
        return cls(name=name, members=members, size=size, shown=shown)


RECORD: Final = Part(name="json", members=1, size=600)
PARTS: Final = (
    Part(name="frames", members=10, size=19_000, shown=3),
    Part(name="spectrogram", members=1, size=516_184, shown=1),
)


class Run:
    """The run as a curriculum sees it; facts are noise."""

    model: Any = None
    method: Any = None
    task: Any = None

    def __init__(self, ids: NDArray[np.int64], seed: int = 0) -> None:
        self.ids, self.seed, self.epoch = ids, seed, 0

    def score(self, *_: object, **__: object) -> dict[str, Tensor]:
        """Facts as of a model that knows nothing."""
        drawn = np.random.default_rng([self.seed, self.epoch])
        values = drawn.random((2, len(self.ids)), np.float32)
        return dict(zip(COLUMNS, torch.from_numpy(values), strict=True))


def write_synthetic(
    path: Path, samples: int, parts: Sequence[Part], shard_size: int, spread: float = 0.3
) -> int:
    """Writes an index as `mmprep build` does, with sizes drawn; returns the bytes of all shards.

    Sizes are log-normal with the mean of their part and ``spread`` as standard deviation of the
    logarithm. Checksums are 0: nothing is read.
    """
    every = (RECORD, *parts)
    members = sum(part.members for part in every)
    mean = np.concatenate([np.full(part.members, part.size, np.float32) for part in every])
    shards = [f"train/{i:06}.tar" for i in range(-(-samples // shard_size))]
    names = {"classes": [f"c{i}" for i in range(_CLASSES)], "splits": ["train"]}
    names |= {"shards": shards, "parts": [part.name for part in every]}
    width = {"counts": (samples, len(every)), "size": (samples * members,)}
    width["crc"] = width["size"]
    generator, stored = np.random.default_rng(0), 0
    with h5py.File(path, "w", libver=("v110", "v110"), track_order=False) as file:
        for name, values in names.items():
            file.create_dataset(name, data=np.array(values, "S"), track_times=False)
        key = file.create_dataset("key", (samples,), "S16", track_times=False)
        tables = {
            name: file.create_dataset(name, width.get(name, (samples,)), kind, track_times=False)
            for name, kind in TABLES.items()
        }
        counts = np.array([[part.members for part in every]], "<u2")
        step = max(1, _CHUNK // shard_size) * shard_size
        for begin in range(0, samples, step):
            number = np.arange(begin, min(begin + step, samples))
            noise = generator.standard_normal((len(number), members), np.float32)
            size = np.maximum(1, mean * np.exp(spread * noise - spread**2 / 2)).astype("<u4")
            room = (-(-size.astype(np.int64) // BLOCK) * BLOCK + BLOCK).sum(axis=1)
            before = room.cumsum() - room
            of = slice(begin, begin + len(number))
            key[of] = _keys(number)
            # Whole arrays: h5py spreads a single row over many a row at a time.
            tables["counts"][of] = counts.repeat(len(number), axis=0)
            tables["split"][of] = np.zeros(len(number), np.uint8)
            tables["label"][of] = number % _CLASSES
            tables["shard"][of] = number // shard_size
            tables["start"][of] = before - before[(number - begin) // shard_size * shard_size]
            tables["first"][of] = number * members
            of_members = slice(begin * members, (begin + len(number)) * members)
            tables["size"][of_members] = size.ravel()
            tables["crc"][of_members] = np.zeros(size.size, np.uint32)
            stored += int(room.sum())
    return stored + 2 * BLOCK * len(shards)


def _keys(number: NDArray[np.int64]) -> NDArray[np.bytes_]:
    text = np.frombuffer(b"clip_00000000000", np.uint8)[None].repeat(len(number), axis=0)
    for place in range(11):
        text[:, 15 - place] += (number // 10**place % 10).astype(np.uint8)
    return text.reshape(-1).view("S16")


def memory() -> dict[str, float]:
    """Bytes of this process: its own, and pages of files, which the ranks of a machine share."""
    status = Path("/proc/self/status").read_text().split()
    return {
        name: int(status[status.index(key) + 1]) * 1024
        for name, key in (("own", "RssAnon:"), ("shared", "RssFile:"))
    }


class Planned:
    """The index and the order of each epoch, with what they took."""

    def __init__(self, path: Path, curriculum: str) -> None:
        self.before = memory()
        begin = time.perf_counter()
        self.index = Index.open(path)
        self.run = Run(np.flatnonzero(self.index.split == 0))
        self.open_s = time.perf_counter() - begin
        self.curriculum = CURRICULA[curriculum]()
        self.order_s = self.digest_s = 0.0

    def order(self, epoch: int) -> SampleOrder:
        """Draws the order of an epoch."""
        self.run.epoch = epoch
        begin = time.perf_counter()
        order = self.curriculum.order(self.run)
        drawn = time.perf_counter()
        order.digest()
        self.order_s, self.digest_s = drawn - begin, time.perf_counter() - drawn
        return order

    def grown(self) -> dict[str, float]:
        """Bytes more than before the index was opened."""
        return {name: now - self.before[name] for name, now in memory().items()}

    def peak(self) -> int:
        """Bytes that drawing an order takes for a moment, the order among them."""
        tracemalloc.start()
        self.curriculum.order(self.run)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest


def row(done: Epoch, training: Training, args: argparse.Namespace, scale: float) -> dict[str, Any]:
    """The line of an epoch, of all ranks."""
    of_all = scale * training.ranks / training.simulated
    traffic = done.traffic
    requests, read = traffic.requests * of_all, traffic.bytes * of_all
    every_s = done.visits * training.ranks / training.simulated / done.seconds
    return {
        "samples_s": every_s,
        "samples_s_a_rank": every_s / training.ranks,
        "waiting": done.waited_s / done.seconds,
        "hours": done.visits * of_all / every_s / 3600,
        "requests": requests,
        "bytes": read,
        "retries": traffic.retries * of_all,
        "hedged": traffic.hedged * of_all,
        "given_up": done.given_up * of_all,
        "cache_hits": traffic.cache_hits / done.wanted,
        "dollars": requests / 1000 * args.dollars_get + read / 1e9 * args.dollars_gb,
        "plan_batch_s": done.plan_s,
    }


def report(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything that is printed."""
    stored = write_synthetic(folder / INDEX, args.samples, args.part, args.shard_size, args.spread)
    planned = Planned(folder / INDEX, args.curriculum)
    order = planned.order(0)
    grown, index = planned.grown(), planned.index
    simulated = min(args.ranks_a_machine, args.ranks)
    share = min(1.0, args.visits / (args.samples * simulated / args.ranks))
    kept = np.random.default_rng(1).random(args.samples) < share
    machines = args.ranks / simulated
    training = Training(
        shown={part.name: part.shown for part in args.part},
        batch_size=args.batch_size * args.ranks,
        ranks=args.ranks,
        simulated=simulated,
        decode_s=args.decode_ms / 1e3,
        step_s=args.step_ms / 1e3,
        plan_s=None if args.plan_ms is None else args.plan_ms / 1e3,
        loading=StreamOptions(
            workers=args.workers, ahead=args.ahead, requests=args.requests, hedge=not args.no_hedge
        ),
    )
    store = StoreModel(
        latency_s=args.latency_ms / 1e3,
        latency_p99_s=(args.latency_p99_ms or args.latency_ms) / 1e3,
        connection=args.connection_mb * 1e6,
        total=args.total_mb * 1e6 / machines,
        rate=args.rate / machines,
        errors=args.errors,
    )
    cache = CacheModel(int(args.cache_gb * 1e9 * share), index) if args.cache_gb else None
    epochs = []
    for epoch in range(args.epochs):
        ids = (order if not epoch else planned.order(epoch)).ids
        thinned = SampleOrder(ids[kept[ids]])
        done = simulate(index, thinned, training, store, epoch=epoch, cache=cache)
        epochs.append(row(done, training, args, len(ids) / len(thinned)))
    return {
        "samples": args.samples,
        "ranks": args.ranks,
        "simulated_ranks": simulated,
        "scale": 1 / share * machines,
        "shards": len(index.shards),
        "stored_bytes": stored,
        "dollars_a_month": stored / 1e9 * args.dollars_month,
        "index_bytes": os.path.getsize(folder / INDEX),
        "open_s": planned.open_s,
        "order_s": planned.order_s,
        "digest_s": planned.digest_s,
        "memory_own": grown["own"],
        "memory_shared": grown["shared"],
        "memory_order_peak": planned.peak(),
        "memory_cache_table": 8 * len(index.size) if args.cache_gb else 0,
        "epochs": epochs,
    }


def shown(made: dict[str, Any], curriculum: str) -> str:
    """The report for people."""
    mb = {name: made[name] / 1e6 for name in made if name.startswith("memory")}
    lines = [
        f"{made['samples']:,} samples in {made['shards']:,} shards, "
        f"{made['stored_bytes'] / 1e12:.3f} TB (${made['dollars_a_month']:,.2f} a month); "
        f"index {made['index_bytes'] / 1e6:,.1f} MB",
        f"planning, measured: open {made['open_s']:.3f} s, {curriculum} order "
        f"{made['order_s']:.3f} s, digest {made['digest_s']:.3f} s, reads of a batch "
        f"{made['epochs'][0]['plan_batch_s'] * 1e3:.2f} ms",
        f"memory a rank, measured: {mb['memory_own']:,.0f} MB of its own, "
        f"{mb['memory_shared']:,.0f} MB mapped and shared; {mb['memory_order_peak']:,.0f} MB for a "
        f"moment while an order is drawn; table of the cache {mb['memory_cache_table']:,.0f} MB",
        f"simulated: {made['simulated_ranks']} of {made['ranks']} ranks; counts are those of the "
        f"simulation times {made['scale']:.1f}",
        "epoch  samples/s  a rank  waiting   hours    requests        GB  retries  raced  "
        "cache hits  given up  dollars",
    ]
    lines += [
        f"{number:5}  {e['samples_s']:9,.0f}  {e['samples_s_a_rank']:6.1f}  {e['waiting']:7.1%}  "
        f"{e['hours']:6.2f}  {e['requests']:10,.0f}  {e['bytes'] / 1e9:8,.1f}  "
        f"{e['retries']:7,.0f}  {e['hedged']:5,.0f}  {e['cache_hits']:10.1%}  "
        f"{e['given_up']:8,.0f}  {e['dollars']:7,.2f}"
        for number, e in enumerate(made["epochs"])
    ]
    return "\n".join(lines)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--samples", type=int, required=True)
    add("--part", type=Part.parse, action="append", help="NAME:MEMBERS:BYTES:SHOWN, repeatable")
    add("--spread", type=float, default=0.3, help="of sizes: deviation of the logarithm")
    add("--shard-size", type=int, default=512)
    add("--curriculum", choices=sorted(CURRICULA), default="uniform")
    add("--epochs", type=int, default=1)
    add("--ranks", type=int, default=1)
    add("--ranks-a-machine", type=int, default=8, help="they share a cache")
    add("--batch-size", type=int, default=64, help="of a rank")
    add("--step-ms", type=float, default=0.0, help="training on a batch")
    add("--decode-ms", type=float, default=0.0, help="a sample, one thread")
    add("--plan-ms", type=float, help="planning of a batch; by default what it takes here")
    add("--workers", type=int, default=4, help="threads of a rank that decode")
    add("--ahead", type=int, default=StreamOptions.ahead, help="batches ahead")
    add("--requests", type=int, default=StreamOptions.requests, help="reads at once, of a rank")
    add("--no-hedge", action="store_true", help="race no slow reads")
    add("--cache-gb", type=float, default=0.0, help="of a machine; 0 for none")
    add("--latency-ms", type=float, default=30.0, help="median, to the first byte")
    add("--latency-p99-ms", type=float, help="99th percentile; by default all are alike")
    add("--connection-mb", type=float, default=math.inf, help="MB/s of one request")
    add("--total-mb", type=float, default=math.inf, help="MB/s of all machines together")
    add("--rate", type=float, default=math.inf, help="requests/s of all machines together")
    add("--errors", type=float, default=0.0, help="share of requests that fail")
    add("--dollars-get", type=float, default=0.0004, help="of 1,000 requests")
    add("--dollars-gb", type=float, default=0.0, help="of a GB out of the store")
    add("--dollars-month", type=float, default=0.023, help="of a GB that lies a month")
    add("--visits", type=int, default=20_000, help="that are simulated an epoch, at most")
    add("--folder", help="where the index is written for a while, 141 bytes a sample")
    add("--json", action="store_true", help="print one JSON object")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options()
    args = parser.parse_args(arguments)
    args.part = args.part or list(PARTS)
    counts = ("samples", "shard_size", "epochs", "ranks", "ranks_a_machine", "batch_size", "visits")
    if small := [name for name in counts if getattr(args, name) < 1]:
        parser.error(f"--{small[0].replace('_', '-')} is at least 1")
    if not 0 <= args.errors < 1:
        parser.error(f"--errors is a share of requests, in [0, 1); got {args.errors}")
    with tempfile.TemporaryDirectory(prefix="simulate-epoch-", dir=args.folder) as folder:
        made = report(args, Path(folder))
    if args.json:
        json.dump(made, sys.stdout, indent=1)
        print()
    else:
        print(shown(made, args.curriculum))


if __name__ == "__main__":
    main()
