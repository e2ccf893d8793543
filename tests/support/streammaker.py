"""Small finished data sets for the stream, and a store that records its reads."""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

from mmprep.format import (
    DATASET,
    INDEX,
    Dataset,
    Payload,
    ShardInfo,
    ShardWriter,
    SplitInfo,
    write_index,
)
from mmprep.storage.store import LocalStore, Store
from mmtrain.types import Batch

CLASSES = ("bark", "meow", "moo")
PARTS = ("frames", "spectrogram", "flow", "depth")
FRAMES, HEIGHT, WIDTH = 10, 40, 56
SOUND = (6, 9)
FIELDS = 2
FEATURES = 3


def make_data(
    folder: Path,
    samples: int = 23,
    shard_size: int = 5,
    parts: tuple[str, ...] = PARTS,
    frames: dict[int, int] | None = None,
    lacking: Mapping[int, tuple[str, ...]] | None = None,
) -> Path:
    """Writes a data set of ``samples`` of the split train and four of val; returns ``folder``.

    Args:
        folder: Folder to write to.
        samples: Number of samples of the split train.
        shard_size: Samples a shard.
        parts: Parts of every sample.
        frames: Number of frames of the samples that do not have ten.
        lacking: Parts that some samples do not have.
    """
    rows: list[tuple[Any, int, int, int]] = []
    shards: list[ShardInfo] = []
    for split, (name, count) in enumerate((("train", samples), ("val", 4))):
        for begin in range(0, count, shard_size):
            path = f"{name}/{begin // shard_size:06}.tar"
            buffer = io.BytesIO()
            writer = ShardWriter(buffer, parts)
            for i in range(begin, min(begin + shard_size, count)):
                number = len(rows)
                shown = (frames or {}).get(number, FRAMES)
                members = dict(payload(number, parts, shown))
                members |= {part: [] for part in (lacking or {}).get(number, ())}
                entry = writer.write(f"{name}{i:03}", members)
                rows.append((entry, number % len(CLASSES), split, len(shards)))
            writer.close()
            put(folder / path, buffer.getvalue())
            shards.append(writer.info(path, min(shard_size, count - begin)))
    names = [shard.name for shard in shards]
    table = write_index(
        rows, classes=CLASSES, splits=("train", "val"), shards=names, parts=("json", *parts)
    )
    put(folder / INDEX, table)
    put(folder / DATASET, describe(samples, shards, parts).to_json().encode())
    return folder


def describe(samples: int, shards: list[ShardInfo], parts: tuple[str, ...]) -> Dataset:
    return Dataset(
        name="farm",
        title="Animals",
        classes=CLASSES,
        modalities=("audio", "visual"),
        parts={"names": list(parts), "flow": {"fields": FIELDS}},
        splits={
            "train": SplitInfo(samples=samples, classes={}),
            "val": SplitInfo(samples=4, classes={}),
        },
        shards=tuple(shards),
        failures={},
        files={},
        made_by={},
    )


def payload(number: int, parts: tuple[str, ...], frames: int) -> Payload:
    random = np.random.default_rng(number)
    sound = random.normal(size=SOUND).astype(np.float16)
    by_part = {
        "frames": [encode_jpeg(picture(number, k)) for k in range(frames)],
        "spectrogram": [array_bytes(sound)],
        "flow": [encode_jpeg(motion(number, k)) for k in range(frames)],
        "depth": [encode_jpeg(picture(number, k)[..., :1]) for k in range(frames)],
        "text": [text(number).encode()],
        "speech": [array_bytes(speech(number))],
    }
    label = CLASSES[number % len(CLASSES)]
    return {
        "json": [json.dumps({"label": label}).encode()],
        **{part: by_part[part] for part in parts},
    }


def text(number: int) -> str:
    """Texts in several scripts and of several lengths; the first is empty."""
    return ("", "a cow says moo", "مرحبا", "🐄 moo 🐄 moo 🐄 moo", "naïve")[number % 5]


def speech(number: int) -> NDArray[np.float16]:
    """1 to 9 steps of three features."""
    steps = np.random.default_rng(number).normal(size=(1 + number % 9, FEATURES))
    return steps.astype(np.float16)


def picture(number: int, frame: int) -> NDArray[np.uint8]:
    """Red rises to the right and green downwards; blue depends on the frame."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = [4 * x + number % 8, 5 * y, np.full_like(x, 20 * frame + 5)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def motion(number: int, frame: int) -> NDArray[np.uint8]:
    """Planes u1 v1 u2 v2: everything moves to the right and upwards, the left half faster."""
    u = np.where(np.arange(WIDTH) < WIDTH // 2, 200, 150)
    planes = [np.broadcast_to(u, (HEIGHT, WIDTH)), np.full((HEIGHT, WIDTH), 90)] * FIELDS
    return np.concatenate(planes).astype(np.uint8)[..., None]


def encode_jpeg(picture: NDArray[np.uint8]) -> bytes:
    space, sampling = ("GRAY", "Gray") if picture.shape[2] == 1 else ("RGB", "420")
    pixels = np.ascontiguousarray(picture)
    return bytes(
        simplejpeg.encode_jpeg(pixels, quality=95, colorspace=space, colorsubsampling=sampling)
    )


def array_bytes(values: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, values, version=(1, 0), **options)
    return buffer.getvalue()


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches agree in every bit."""
    return (
        torch.equal(one.ids, other.ids)
        and torch.equal(one.target, other.target)
        and torch.equal(one.filler, other.filler)
        and one.inputs.keys() == other.inputs.keys()
        and all(torch.equal(x, other.inputs[m]) for m, x in one.inputs.items())
        and one.shown.keys() == other.shown.keys()
        and all(torch.equal(x, other.shown[m]) for m, x in one.shown.items())
    )


class RecordingStore:
    """A store that passes everything on to another and records which bytes were read."""

    def __init__(self, store: Store) -> None:
        self.store, self.url = store, store.url
        self.reads: list[tuple[str, int, int]] = []

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        data = self.store.read(path, start, end)
        if path.endswith(".tar"):
            self.reads.append((path, start, start + len(data)))
        return data

    def open(self, path: str) -> IO[bytes]:
        return self.store.open(path)

    def size(self, path: str) -> int | None:
        return self.store.size(path)

    def files(self) -> Iterator[tuple[str, int]]:
        return self.store.files()

    def create(self, path: str) -> AbstractContextManager[IO[bytes]]:
        return self.store.create(path)

    def write(self, path: str, data: bytes) -> None:
        self.store.write(path, data)

    def move(self, path: str, to: str) -> None:
        self.store.move(path, to)

    def delete(self, path: str) -> None:
        self.store.delete(path)


def record_reads(folder: Path) -> RecordingStore:
    return RecordingStore(LocalStore(folder))
