"""Small finished data sets for tests of what reads them; synthetic, so nothing is decoded."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmprep.clips.parts import flow, frames, sequence, spectrogram
from mmprep.config import FlowConfig, FrameConfig, PartsConfig, SpectrogramConfig
from mmprep.failure import Failure
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
from mmprep.shards import Shards
from mmprep.storage.store import LocalStore

# What a page and a terminal must escape: markup of HTML, of rich and of TeX, and other alphabets.
LABELS = ('crowing & "clucking"', "<b>dog</b> [bold]bark", "été à 5 $ou 6 $", "犬が吠える")
# Texts of several scripts, with line ends, control characters and nothing at all.
TEXTS = (
    "RT @a : Zürich is <b>lovely</b> & \U0001f600 $5 " + "and so on " * 30,
    "今日はとても良い天気です",
    "مرحبا بالعالم",
    "one\r\ntwo\tthree \x1b[31mred\u202e",
    "",
)
_LOST = {"label": LABELS[1], "split": "train"}
FAILURES_MADE = (
    Failure(key="a", source="a.mp4", stage="find", cause="missing", message="no file", **_LOST),
    Failure(key="b", source="b.mp4", stage="find", cause="missing", message="no file", **_LOST),
    Failure(key="c", source="<i>.mp4", stage="video", cause="corrupt", message="3 & 4", **_LOST),
)
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Properties of the samples.

    Attributes:
        samples: How many; they take the splits train, train, val, test in turn.
        parts: Parts of every sample.
        labels: Class names; samples take them in turn.
        frames: Frames of each sample, and fields of flow.
        size: Width and height of a frame.
        fps: Frames a second.
        fields: Flow fields at each frame.
        columns: Columns of the spectrogram.
        failures: Clips that gave no sample.
    """

    samples: int = 8
    parts: tuple[str, ...] = ("frames", "spectrogram", "flow")
    labels: tuple[str, ...] = LABELS
    frames: int = 10
    size: tuple[int, int] = (64, 48)
    fps: float = 1.0
    fields: int = 1
    columns: int = 200
    failures: tuple[Failure, ...] = FAILURES_MADE

    @property
    def config(self) -> PartsConfig:
        """Parameters as `dataset.json` holds them."""
        return PartsConfig(
            names=self.parts,
            clip_s=self.frames / self.fps,
            frames=FrameConfig(fps=self.fps, short_side=min(self.size)),
            spectrogram=SpectrogramConfig(),
            flow=FlowConfig(fields=self.fields, short_side=min(self.size)),
        )

    def key(self, i: int) -> str:
        """Key of the ``i``-th sample."""
        return f"clip_{i:04d}"

    def label(self, i: int) -> int:
        """Class id of the ``i``-th sample."""
        return i % len(self.labels)

    def split(self, i: int) -> str:
        """Split of the ``i``-th sample."""
        return ("train", "train", "val", "test")[i % 4]


def shards_of(folder: Path, recipe: type[Recipe] = Recipe, **changes: Any) -> Path:
    """Makes small shards of three classes that are in every split; returns ``folder``."""
    given = {"labels": ("low", "mid", "high"), "frames": 1, "size": (32, 32), "columns": 40}
    make_shards(folder, recipe(**{"samples": 36, **given, **changes}))
    return folder


def make_shards(folder: Path, recipe: Recipe | None = None, **record: Any) -> Shards:
    """Writes a finished data set into ``folder`` and opens it.

    Args:
        folder: Where to; made if it is not there.
        recipe: What the samples are like.
        record: Fields of every sample's record that replace the usual ones; None leaves one out.
    """
    recipe = recipe or Recipe()
    rows, infos = [], []
    for shard, split in enumerate(SPLITS):
        buffer = io.BytesIO()
        writer = ShardWriter(buffer, recipe.parts)
        chosen = [i for i in range(recipe.samples) if recipe.split(i) == split]
        for i in chosen:
            entry = writer.write(recipe.key(i), _payload(recipe, i, record))
            rows.append((entry, recipe.label(i), shard, shard))
        writer.close()
        name = f"{split}/000000.tar"
        _put(folder / name, buffer.getvalue())
        infos.append(
            ShardInfo(
                name=name,
                samples=len(chosen),
                bytes=writer.size,
                sha256=writer.digest.hexdigest(),
            )
        )
    names = [info.name for info in infos]
    parts = ("json", *recipe.parts)
    _put(
        folder / INDEX,
        write_index(rows, classes=recipe.labels, splits=SPLITS, shards=names, parts=parts),
    )
    lines = (json.dumps(asdict(failure)) + "\n" for failure in recipe.failures)
    _put(folder / FAILURES, "".join(lines).encode())
    _put(folder / DATASET, _dataset(recipe, infos).to_json().encode())
    return Shards(LocalStore(folder))


def _dataset(recipe: Recipe, shards: Sequence[ShardInfo]) -> Dataset:
    causes = [failure.cause for failure in recipe.failures]
    return Dataset(
        name="barnyard",
        title="Animals & <others>",
        classes=recipe.labels,
        modalities=("audio", "visual"),
        parts=recipe.config.to_json(),
        splits={split: _counts(recipe, split) for split in SPLITS},
        shards=tuple(shards),
        failures={cause: causes.count(cause) for cause in sorted(set(causes))},
        files={},
        made_by={"mmprep": "0"},
        licence="none",
    )


def _counts(recipe: Recipe, split: str) -> SplitInfo:
    labels = [recipe.label(i) for i in range(recipe.samples) if recipe.split(i) == split]
    classes = {name: labels.count(i) for i, name in enumerate(recipe.labels)}
    return SplitInfo(samples=len(labels), classes=classes)


def _payload(recipe: Recipe, i: int, changes: dict[str, Any]) -> Payload:
    record = {**_record(recipe, i), **changes}
    record = {name: value for name, value in record.items() if value is not None}
    makers = {
        "frames": lambda: _pictures(recipe, i),
        "spectrogram": lambda: [spectrogram.npy(_sound(recipe, i))],
        "flow": lambda: _motion(recipe),
        "difference": lambda: _pictures(recipe, i),
        "depth": lambda: [frames.jpeg(frames.luma(p), 90) for p in _arrays(recipe, i)],
        **dict.fromkeys(("text", "target", "question"), lambda: [TEXTS[i % len(TEXTS)].encode()]),
        **dict.fromkeys(("speech", "face", "words"), lambda: [sequence.npy(_features(i))]),
    }
    return {
        "json": [json.dumps(record, ensure_ascii=False).encode()],
        **{part: makers[part]() for part in recipe.parts},
    }


def _record(recipe: Recipe, i: int) -> dict[str, Any]:
    checks = ("silent", "black", "frozen", "duration_mismatch", "no_audio", "looped")
    return {
        "key": recipe.key(i),
        "label": recipe.labels[recipe.label(i)],
        "split": recipe.split(i),
        "sources": {"video": f"raw/{recipe.key(i)} & co.mp4"},
        "start": 30.0,
        "end": 40.0,
        "duration_s": recipe.frames / recipe.fps - 0.1 * (i % 3),
        "source_duration_s": 212.3,
        "fps": 29.97,
        "times_s": [(n + 0.5) / recipe.fps for n in range(recipe.frames)],
        "size": list(recipe.size),
        "audio": {"rate_hz": 44100, "channels": 2, "codec": "aac", "start_s": 0, "duration_s": 9.9},
        "checks": {**dict.fromkeys(checks, False), "silent": i == 1, "damaged": 3 * (i == 2)},
        "decoder": "pyav",
    }


def _pictures(recipe: Recipe, i: int) -> list[bytes]:
    return [frames.jpeg(picture, 90) for picture in _arrays(recipe, i)]


def _arrays(recipe: Recipe, i: int) -> list[NDArray[np.uint8]]:
    """A bright bar that crosses a gradient whose colour depends on the sample."""
    width, height = recipe.size
    y, x = np.mgrid[:height, :width]
    ground = np.stack([255 * x / width, 255 * y / height, np.full(x.shape, 29 * i % 255)], axis=-1)
    pictures = []
    for n in range(recipe.frames):
        picture = ground.astype(np.uint8)
        left = n * width // recipe.frames
        picture[:, left : left + max(1, width // 8)] = 240
        pictures.append(picture)
    return pictures


def _sound(recipe: Recipe, i: int) -> NDArray[np.float16]:
    """A tone whose pitch depends on the class, over noise."""
    noise = np.random.default_rng(i).normal(-12, 1, (257, recipe.columns))
    noise[20 + 40 * recipe.label(i) % 230] = -3
    return noise.astype(np.float16)


def _features(i: int) -> NDArray[np.float32]:
    """Features of very different sizes, one of them constant, over more steps in each sample."""
    noise = np.random.default_rng(i).normal(0, 1, (20 + 5 * i, 6))
    return (noise * [0, 1, 10, 1e-3, 1e6, 5]).astype(np.float32)


def _motion(recipe: Recipe) -> list[bytes]:
    """Fields that turn about the centre, at most 10 pixels fast."""
    width, height = recipe.size
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    planes = [flow.encode((7 * plane).astype(np.float32), 20.0) for plane in (-y, x)]
    return [frames.jpeg(np.concatenate(planes * recipe.fields), 95)] * recipe.frames


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
