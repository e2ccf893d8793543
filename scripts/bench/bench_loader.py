#!/usr/bin/env python
"""Samples a second of the stream, beside what people use today and what the machine allows.

    scripts/bench/bench_loader.py --data shards/any-set-with-frames-and-spectrograms

Three of ten frames with a random 224-pixel crop and flip, and the spectrogram, in batches. All ways
read the same samples, copied from ``--data`` into a folder that is removed at the end. They take
turns for several rounds; ratios are within a round, and the median is shown with the range.
"""

import argparse
import io
import os
import pickle
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
import torch
from torch.utils.data import DataLoader, Dataset

from mmprep.format import DATASET, INDEX, ShardWriter, crc32c, write_index
from mmprep.format.tar import SampleEntry
from mmtrain.curricula.uniform import Uniform
from mmtrain.data import (
    OrderedStream,
    SampleOrder,
    ShardedDataset,
    StreamOptions,
    View,
    open_dataset,
)
from mmtrain.data.batches.decode import ColourDecoder

VIEW = View(crop="random-crop")
Way = Callable[[], int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a data set of mmprep")
    parser.add_argument("--samples", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="ways whose name has this in it")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="bench-loader-") as folder:
        root = Path(folder)
        copy_samples(open_dataset(args.data), root / "shards", args.samples)
        write_files(open_dataset(root / "shards"), root / "files")
        ways = {
            name: way
            for name, way in all_ways(root, args.batch_size, args.workers).items()
            if args.only in name
        }
        print(f"{args.samples} samples, batch {args.batch_size}, {args.workers} workers")
        report(ways, args.rounds)
        if not args.only:
            bytes_read(root / "shards", args.batch_size)


def report(ways: dict[str, Way], rounds: int) -> None:
    """Lets the ways take turns; seconds of the processor too, which other work disturbs less."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            begin, used = time.perf_counter(), processor_s()
            count = way()
            wall = time.perf_counter() - begin
            found[name].append((count / wall, (processor_s() - used) / count * 1e6))
    base = next(iter(ways))
    print(f"load of the machine: {os.getloadavg()}")
    print(f"{'way':44} samples/s  us of CPU   {base} is so many times as fast (of CPU time)")
    for name, runs in found.items():
        pairs = list(zip(found[base], runs, strict=True))
        ratios = [ours[0] / other[0] for ours, other in pairs]
        cheaper = statistics.median(other[1] / ours[1] for ours, other in pairs)
        speed, cost = (statistics.median(column) for column in zip(*runs, strict=True))
        print(
            f"{name:44} {speed:9.0f}  {cost:9.0f}   {statistics.median(ratios):5.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})   ({cheaper:.2f})"
        )


def processor_s() -> float:
    """Seconds of the processor that this process and those it has waited for used."""
    return sum(os.times()[:4])


def all_ways(root: Path, batch_size: int, workers: int) -> dict[str, Way]:
    data = open_dataset(root / "shards")
    options = StreamOptions(workers=workers)
    # Four epochs in one, so that starting and stopping of threads weighs little.
    ids = np.tile(data.ids("train"), 4)
    shuffled = Uniform().visits(ids, seed=0, epoch=0)
    in_order = SampleOrder(ids)
    both = ("audio", "visual")

    def stream(order: SampleOrder, modalities: tuple[str, ...], view: View = VIEW) -> Way:
        # One for all rounds, as training has one for all epochs.
        made = OrderedStream(data, modalities, batch_size, view, options=options)

        def run() -> int:
            made.begin(order, seed=0, epoch=0)
            return sum(len(batch) for batch in made)

        return run

    return {
        "stream": stream(shuffled, both),
        "(d) pread, decode to the same memory, only": lambda: limit(data, shuffled, workers, True),
        "(d) pread, decode to new memory, only": lambda: limit(data, shuffled, workers, False),
        "(a) files, PIL, torchvision, DataLoader": lambda: papers(
            root / "files", batch_size, workers
        ),
        "(b) webdataset, PIL, torchvision": lambda: webdataset(
            root / "shards", batch_size, workers, pil_sample
        ),
        "(c) webdataset, our decoding": lambda: webdataset(
            root / "shards", batch_size, workers, our_sample
        ),
        "stream, samples in shard order": stream(in_order, both),
        "stream, random-resized-crop": stream(shuffled, both, View()),
        "stream, evaluation (resize)": stream(in_order, both, View().evaluation()),
        "stream, audio only": stream(shuffled, ("audio",)),
    }


def copy_samples(
    data: ShardedDataset,
    out: Path,
    count: int,
    shard_size: int = 80,
    pictures: Callable[[int], list[bytes]] | None = None,
) -> None:
    """Writes ``count`` samples, those of ``data`` by turns under new keys, as one split.

    ``pictures`` gives the frames of the sample of a number, in place of its own.
    """
    index = data.index
    rows: list[tuple[SampleEntry, int, int, int]] = []
    shards: list[Any] = []
    parts = index.parts[1:]
    for begin in range(0, count, shard_size):
        name = f"train/{begin // shard_size:06}.tar"
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        with (out / name).open("wb") as file:
            writer = ShardWriter(file, parts)
            for i in range(begin, min(begin + shard_size, count)):
                row = i % len(index)
                shard = index.shards[index.shard[row]]
                payload = {
                    part: [data.store.read(shard, m.offset, m.offset + m.size) for m in members]
                    for part, members in index.members(row).items()
                }
                if pictures is not None:
                    payload["frames"] = pictures(row)
                entry = writer.write(f"s{i:06}", payload)
                rows.append((entry, int(index.label[row]), 0, len(shards)))
            writer.close()
            shards.append(writer.info(name, min(shard_size, count - begin)))
    names = [shard.name for shard in shards]
    table = write_index(
        rows, classes=index.classes, splits=("train",), shards=names, parts=index.parts
    )
    (out / INDEX).write_bytes(table)
    counts = np.bincount([row[1] for row in rows], minlength=len(index.classes)).tolist()
    split = replace(
        next(iter(data.description.splits.values())),
        samples=count,
        classes=dict(zip(index.classes, counts, strict=True)),
    )
    described = replace(data.description, splits={"train": split}, shards=tuple(shards), files={})
    (out / DATASET).write_text(described.to_json())


def write_files(data: ShardedDataset, out: Path) -> None:
    """The same samples as folders of JPEG files and pickled float32 spectrograms."""
    index = data.index
    for row in range(len(index)):
        shard, members = index.shards[index.shard[row]], index.members(row)
        folder = out / data.key(row)
        folder.mkdir(parents=True)
        for i, m in enumerate(members["frames"]):
            content = data.store.read(shard, m.offset, m.offset + m.size)
            (folder / f"frame{i:02}.jpg").write_bytes(content)
        m = members["spectrogram"][0]
        values = np.load(io.BytesIO(data.store.read(shard, m.offset, m.offset + m.size)))
        (folder / "audio.pkl").write_bytes(pickle.dumps(values.astype(np.float32)))


def segments(count: int, frames: int) -> list[int]:
    width = count // frames
    return [i * width + random.randrange(width) for i in range(frames)]


def transform() -> Callable[[Any], torch.Tensor]:
    from torchvision import transforms

    made: Callable[[Any], torch.Tensor] = transforms.Compose(
        [
            transforms.RandomCrop(224),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    return made


class Files(Dataset[tuple[torch.Tensor, torch.Tensor, int]]):
    """The papers' loader: a folder of frames and a pickle for each clip."""

    def __init__(self, root: Path) -> None:
        self.clips = sorted(root.iterdir())
        self.transform = transform()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        from PIL import Image

        names = sorted(self.clips[i].glob("*.jpg"))
        pictures = [
            self.transform(Image.open(names[k]).convert("RGB")) for k in segments(len(names), 3)
        ]
        sound = pickle.loads((self.clips[i] / "audio.pkl").read_bytes())
        return torch.stack(pictures, 1), torch.from_numpy(sound)[None], i % 10


def papers(root: Path, batch_size: int, workers: int) -> int:
    loader = DataLoader(Files(root), batch_size, shuffle=True, num_workers=workers)
    return sum(len(target) for _, _, target in loader)


def pil_sample(sample: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, int]:
    from PIL import Image

    names = sorted(name for name in sample if name.endswith(".jpg"))
    change = transform()
    pictures = [
        change(Image.open(io.BytesIO(sample[names[k]])).convert("RGB"))
        for k in segments(len(names), 3)
    ]
    sound = np.load(io.BytesIO(sample["spectrogram.npy"])).astype(np.float32)
    return torch.stack(pictures, 1), torch.from_numpy(sound)[None], 0


def our_sample(sample: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, int]:
    names = sorted(name for name in sample if name.endswith(".jpg"))
    at = random.randrange(1 << 30)
    draws = VIEW.draws(0, 0, at, at + 1)[0]
    pictures = np.empty((3, 224, 224, 3), np.uint8)
    ours = ColourDecoder("frames", VIEW, checked=True)
    for place, k in enumerate(VIEW.choose_frames(len(names), draws)):
        ours.decode(np.frombuffer(sample[names[k]], np.uint8), draws, pictures, place)
    sound = np.load(io.BytesIO(sample["spectrogram.npy"]))
    return torch.from_numpy(pictures).permute(0, 3, 1, 2), torch.from_numpy(sound)[None], 0


def webdataset(
    root: Path,
    batch_size: int,
    workers: int,
    sample: Callable[[dict[str, Any]], tuple[torch.Tensor, torch.Tensor, int]],
) -> int:
    import webdataset as wds

    urls = sorted(str(path) for path in root.rglob("*.tar"))
    cv2.setNumThreads(1)
    made = wds.WebDataset(urls, shardshuffle=len(urls), empty_check=False).shuffle(100).map(sample)
    return sum(len(b[2]) for b in DataLoader(made, batch_size, num_workers=workers))


def limit(data: ShardedDataset, order: SampleOrder, workers: int, reuse: bool) -> int:
    """Threads that read the bytes and decode three pictures, and throw them away."""
    index = data.index
    files = [os.open(f"{data.store.url}/{name}", os.O_RDONLY) for name in index.shards]
    todo = [
        (files[index.shard[row]], [members["frames"][k] for k in (1, 5, 8)], members["spectrogram"])
        for row, members in ((row, index.members(row)) for row in order.ids.tolist())
    ]

    def run(part: list[Any]) -> int:
        scratch = np.empty(3 * 512 * 512, np.uint8) if reuse else None
        for file, frames, (sound,) in part:
            os.pread(file, sound.size, sound.offset)
            for m in frames:
                simplejpeg.decode_jpeg(os.pread(file, m.size, m.offset), "RGB", buffer=scratch)
        return len(part)

    with ThreadPoolExecutor(workers) as pool:
        done = sum(pool.map(run, [todo[i::workers] for i in range(workers)]))
    for file in files:
        os.close(file)
    return done


def bytes_read(root: Path, batch_size: int) -> None:
    data = open_dataset(root)
    index = data.index
    for modalities in (("audio",), ("visual",), ("audio", "visual")):
        made = OrderedStream(data, modalities, batch_size, VIEW)
        made.begin(Uniform().visits(data.ids("train"), 0, 0), seed=0, epoch=0)
        for _ in made:
            pass
        whole = sum(path.stat().st_size for path in root.rglob("*.tar"))
        print(
            f"{'+'.join(modalities):14} read {made.traffic.bytes / 1e6:8.1f} MB in "
            f"{made.traffic.requests} requests, of {whole / 1e6:.1f} MB in the shards"
        )
    sounds = sum(index.members(row)["spectrogram"][0].size for row in range(len(index)))
    print(f"spectrograms alone are {sounds / 1e6:.1f} MB")


def index_of(count: int) -> bytes:
    """An index of ``count`` samples of ten frames and a spectrogram each."""

    def rows() -> Iterator[tuple[SampleEntry, int, int, int]]:
        sizes, crcs = (600, *[19_000] * 10, 516_184), (crc32c(b""),) * 12
        for i in range(count):
            entry = SampleEntry(
                key=f"clip_{i:011}",
                start=i % 512 * 714_000,
                counts=(1, 10, 1),
                sizes=sizes,
                crcs=crcs,
            )
            yield entry, i % 309, 0, i // 512

    shards = [f"train/{i:06}.tar" for i in range(-(-count // 512))]
    return write_index(
        rows(),
        classes=[f"c{i}" for i in range(309)],
        splits=("train",),
        shards=shards,
        parts=("json", "frames", "spectrogram"),
    )


if __name__ == "__main__":
    main()
