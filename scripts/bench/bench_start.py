#!/usr/bin/env python
"""Seconds from an index of very many samples to the first batch of an epoch.

    scripts/bench/bench_start.py --data shards/any-set-with-frames-and-spectrograms

The index lists the samples of ``--data``, copied into a folder that is removed at the end, again
and again under new keys, so that only the index is large.
"""

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from bench_loader import VIEW, copy_samples, index_of, processor_s

from mmprep.format import DATASET, INDEX, Index, write_index
from mmtrain.curricula.uniform import Uniform
from mmtrain.data import OrderedStream, StreamOptions, open_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a data set of mmprep")
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    measure_index(args.samples)
    with tempfile.TemporaryDirectory(prefix="bench-start-") as folder:
        copy_samples(open_dataset(args.data), Path(folder), 320)
        repeat_samples(Path(folder), args.samples)
        measure_start(Path(folder), args.batch_size, args.workers)


def measure_index(count: int) -> None:
    """Opens an index of ``count`` samples and draws an epoch, with times and memory."""
    table = index_of(count)
    with tempfile.TemporaryDirectory(prefix="bench-loader-") as folder:
        path = Path(folder, INDEX)
        path.write_bytes(table)
        print(f"index of {count} samples, {len(table) / 1e6:.0f} MB on disk")
        del table
        before = resident()
        begin = time.perf_counter()
        index = Index.open(path)
        ids = np.flatnonzero(index.split == 0)
        print(
            f"open and ids {time.perf_counter() - begin:.3f} s, {resident() - before:.0f} MB more"
        )
        begin = time.perf_counter()
        order = Uniform().visits(ids, seed=0, epoch=0)
        print(f"uniform order {time.perf_counter() - begin:.3f} s")
        begin = time.perf_counter()
        order.digest()
        print(f"digest {time.perf_counter() - begin:.3f} s")


def repeat_samples(root: Path, count: int) -> None:
    """Makes the index of a data set list its samples by turns, under new keys, ``count`` times."""
    data = open_dataset(root)
    index = data.index
    entries = list(index.entries(np.arange(len(index))))
    # By shard, as in a real index: those of one shard lie together.
    turns = np.sort(np.arange(count) % len(entries))
    rows = (
        (
            replace(entries[row], key=f"clip_{i:011}"),
            int(index.label[row]),
            0,
            int(index.shard[row]),
        )
        for i, row in enumerate(turns.tolist())
    )
    table = write_index(
        rows, classes=index.classes, splits=("train",), shards=index.shards, parts=index.parts
    )
    counts = np.bincount(index.label[turns], minlength=len(index.classes)).tolist()
    classes = dict(zip(index.classes, counts, strict=True))
    # Only now, for the index that is open is the file itself.
    (root / INDEX).write_bytes(table)
    split = replace(data.description.splits["train"], samples=count, classes=classes)
    described = replace(data.description, splits={"train": split})
    (root / DATASET).write_text(described.to_json())


def measure_start(root: Path, batch_size: int, workers: int) -> None:
    """Opens a data set and takes the first batch of two epochs, with times by the clock and CPU."""
    begin, used = time.perf_counter(), processor_s()
    data = open_dataset(root)
    ids = data.ids("train")
    options = StreamOptions(workers=workers)
    stream = OrderedStream(data, ("audio", "visual"), batch_size, VIEW, options=options)
    print(f"open {time.perf_counter() - begin:.3f} s, CPU {processor_s() - used:.3f} s")
    for epoch in range(2):
        begin, used = time.perf_counter(), processor_s()
        stream.begin(Uniform().visits(ids, seed=0, epoch=epoch), seed=0, epoch=epoch)
        batches = iter(stream)
        next(batches)
        wall, cpu = time.perf_counter() - begin, processor_s() - used
        print(f"order and first batch of epoch {epoch} {wall:.3f} s, CPU {cpu:.3f} s (<= 0.3)")
        begin = time.perf_counter()
        stream.state_dict()
        print(f"first state {time.perf_counter() - begin:.3f} s")
        batches.close()


def resident() -> float:
    """MB of this process in memory, mapped pages included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
