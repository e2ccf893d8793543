"""Synthetic shards for `gpu_check`, by the product's own writer: noise and a trace of the class."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmprep.clips.parts import frames, spectrogram
from mmprep.config import FlowConfig, FrameConfig, PartsConfig, SpectrogramConfig
from mmprep.format import (
    DATASET,
    FAILURES,
    INDEX,
    Dataset,
    Payload,
    ShardInfo,
    ShardWriter,
    SplitInfo,
    write_index,
)

PARTS = ("frames", "spectrogram")
CLASSES = ("low", "mid", "high")


@dataclass(frozen=True, kw_only=True)
class Size:
    """Size of a data set.

    Attributes:
        train: Samples to train on.
        rest: Samples of val, and of test.
        frames: Frames of a clip.
        height: Height and width of a frame in pixels.
        columns: Columns of a spectrogram.
    """

    train: int
    rest: int
    frames: int
    height: int
    columns: int

    @property
    def splits(self) -> dict[str, int]:
        """Split to its number of samples."""
        return {"train": self.train, "val": self.rest, "test": self.rest}


def write_shards(folder: Path, size: Size) -> Path:
    """Writes a finished data set; returns ``folder``.

    A class has one clip, of which its samples share the bytes, so that little is encoded.
    """
    payloads = [_clip(label, size) for label in range(len(CLASSES))]
    rows: list[tuple[Any, int, int, int]] = []
    shards = []
    for place, (split, count) in enumerate(size.splits.items()):
        buffer = io.BytesIO()
        writer = ShardWriter(buffer, PARTS)
        for i in range(count):
            label = i % len(CLASSES)
            rows.append((writer.write(f"{split}_{i:05d}", payloads[label]), label, place, place))
        writer.close()
        name = f"{split}/000000.tar"
        _put(folder / name, buffer.getvalue())
        digest = writer.digest.hexdigest()
        shards.append(ShardInfo(name=name, samples=count, bytes=writer.size, sha256=digest))
    names = [shard.name for shard in shards]
    table = write_index(
        rows, classes=CLASSES, splits=tuple(size.splits), shards=names, parts=("json", *PARTS)
    )
    _put(folder / INDEX, table)
    _put(folder / FAILURES, b"")
    _put(folder / DATASET, _description(size, shards).to_json().encode())
    return folder


def _clip(label: int, size: Size) -> Payload:
    draw = np.random.default_rng(label)
    # Of coarse grains: noise in every pixel would make JPEGs many times as large as real ones.
    shape = (size.frames, size.height // 8, size.height // 8, 3)
    pictures = draw.integers(0, 160, shape, dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    pictures[..., label] += 80
    sound = draw.normal(-12, 1, (257, size.columns))
    sound[20 + 60 * label] = -3
    return {
        "json": [json.dumps({"label": CLASSES[label]}).encode()],
        "frames": [frames.jpeg(picture, 90) for picture in pictures],
        "spectrogram": [spectrogram.npy(sound.astype(np.float16))],
    }


def _description(size: Size, shards: list[ShardInfo]) -> Dataset:
    parts = PartsConfig(
        names=PARTS,
        clip_s=float(size.frames),
        frames=FrameConfig(fps=1.0, short_side=size.height),
        spectrogram=SpectrogramConfig(),
        flow=FlowConfig(),
    )
    return Dataset(
        name="synthetic",
        title="Synthetic",
        classes=CLASSES,
        modalities=("audio", "visual"),
        parts=parts.to_json(),
        splits={split: _counts(count) for split, count in size.splits.items()},
        shards=tuple(shards),
        failures={},
        files={},
        made_by={"mmprep": "0"},
        licence="none",
    )


def _counts(samples: int) -> SplitInfo:
    classes = {name: len(range(i, samples, len(CLASSES))) for i, name in enumerate(CLASSES)}
    return SplitInfo(samples=samples, classes=classes)


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
