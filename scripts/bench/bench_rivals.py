#!/usr/bin/env python
"""Samples a second of our stream beside other streaming libraries, in four orders.

    uv pip install --python .venv --no-deps --target RIVALS -r scripts/bench/rivals/requirements.txt
    PYTHONPATH=RIVALS scripts/bench/bench_rivals.py --data any-set-with-frames-and-spectrograms

Each library reads the same samples in a format of its own, written as its documentation has it, and
makes the same tensors of them with our decoding: three of a clip's frames with a random 224-pixel
crop and flip, and the spectrogram. Each runs in a process of its own with as many workers as the
others. They take turns for several rounds; ratios are within a round. A library that is not
installed, or fails, is named with the reason, and the others go on.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from bench_loader import copy_samples
from rivals import RIVALS
from rivals.base import ORDERS, Setting
from rivals.process import Failed, Measured, RivalProcess

from mmtrain.data import ShardedDataset, open_dataset


@dataclass
class Row:
    """A library in one order.

    Attributes:
        name: Name of the library.
        remark: Remark on the order.
        mapped: Whether bytes that it reads cannot be counted.
        reason: Why there are no measurements.
        runs: Measurements, one a round.
    """

    name: str
    remark: str = ""
    mapped: bool = False
    reason: str = ""
    runs: list[Measured] = field(default_factory=list)


def main() -> None:
    args = parse()
    # Python tidies up after loaders that do not end their processes, and need not tell of each.
    os.environ["PYTHONWARNINGS"] = "ignore:resource_tracker"
    names = [name for name in RIVALS if not args.only or name in {"ours", *args.only.split(",")}]
    with tempfile.TemporaryDirectory(prefix="bench-rivals-", dir=args.work) as folder:
        setting = Setting(root=Path(folder), batch_size=args.batch_size, workers=args.workers)
        setting.shards.mkdir()
        data = open_dataset(args.data)
        copy_samples(data, setting.shards, args.samples, pictures=distinct_frames(data))
        print(f"{args.samples} samples, batch {args.batch_size}, {args.workers} workers")
        print(f"load of the machine: {os.getloadavg()}")
        compare(names, args.orders.split(","), setting, args.rounds)
        print(f"load of the machine: {os.getloadavg()}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="a data set of mmprep")
    parser.add_argument("--samples", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="libraries beside ours, with commas between")
    parser.add_argument("--orders", default=",".join(ORDERS), help="default: %(default)s")
    parser.add_argument("--work", help="folder in which the formats are written, then removed")
    args = parser.parse_args()
    chosen = [(args.only, RIVALS), (args.orders, ORDERS)]
    unknown = {n for text, known in chosen for n in text.split(",") if n and n not in known}
    if unknown:
        known = ", ".join([*RIVALS, *ORDERS])
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {known}")
    return args


def distinct_frames(data: ShardedDataset) -> Callable[[int], list[bytes]]:
    """Makes a function of a row to its frames, in which no two samples have the same bytes.

    Else a format that stores a value once would have less to read than with real clips. Decoders
    stop before the bytes that are added.
    """
    numbers = count()

    def frames(row: int) -> list[bytes]:
        shard, mark = data.index.shards[data.index.shard[row]], next(numbers).to_bytes(4)
        members = data.index.members(row)["frames"]
        return [data.store.read(shard, m.offset, m.offset + m.size) + mark for m in members]

    return frames


def compare(names: Sequence[str], orders: Sequence[str], setting: Setting, rounds: int) -> None:
    """Starts the libraries, measures them in each order, and prints a table an order."""
    processes: dict[str, RivalProcess] = {}
    try:
        for name in names:
            try:
                processes[name] = RivalProcess(name, setting)
                print(", ".join(processes[name].facts.versions), flush=True)
            except Failed as error:
                print(f"{name} is left out: {error}", flush=True)
        for order in orders:
            print_table(order, measure(processes, order, rounds))
    finally:
        for process in processes.values():
            process.close()


def measure(processes: dict[str, RivalProcess], order: str, rounds: int) -> list[Row]:
    """Lets the libraries take turns in one order, after an epoch that warms up and is checked."""
    rows = []
    for name, process in processes.items():
        facts = process.facts
        remark, reason = facts.remarks.get(order, ""), facts.refused.get(order, "")
        rows.append(Row(name, remark, facts.mapped, reason))
    for epoch in range(rounds + 1):
        for row in rows:
            if row.reason:
                continue
            try:
                if epoch:
                    row.runs.append(processes[row.name].measure(order, epoch))
                else:
                    processes[row.name].check(order, epoch)
            except Failed as error:
                row.reason = f"failed: {error}"
    return rows


def print_table(order: str, rows: Sequence[Row]) -> None:
    print(f"\n{order}: {ORDERS[order]}")
    print(
        f"{'library':23}samples/s  us of CPU  KB read   ours is so many times as fast (of CPU time)"
    )
    ours = next((row.runs for row in rows if row.name == "ours"), [])
    for row in rows:
        if row.reason:
            print(f"{row.name:23}{row.reason}")
            continue
        speed, cost, read = (statistics.median(column) for column in zip(*row.runs, strict=True))
        amount = "mapped" if row.mapped else f"{read / 1000:.0f}"
        print(
            f"{row.name:23}{speed:9.0f}  {cost:9.0f}  {amount:>7}   "
            f"{describe_ratio(ours, row.runs)}  {row.remark}".rstrip()
        )


def describe_ratio(ours: Sequence[Measured], others: Sequence[Measured]) -> str:
    """Median and quartiles of the ratio of speeds, and the median of that of processor time."""
    pairs = list(zip(ours, others, strict=False))
    if not pairs:
        return " " * 27
    faster = [mine.speed / other.speed for mine, other in pairs]
    cheaper = statistics.median(other.cpu_us / mine.cpu_us for mine, other in pairs)
    low, middle, high = (
        statistics.quantiles(faster, n=4, method="inclusive") if len(pairs) > 1 else faster * 3
    )
    return f"{middle:5.2f} ({low:.2f} to {high:.2f})   ({cheaper:.2f})"


if __name__ == "__main__":
    main()
