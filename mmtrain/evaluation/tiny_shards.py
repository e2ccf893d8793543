"""Tiny shards of noise and words, on which a method shows within seconds what it does."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from mmprep.format import DATASET, INDEX, Dataset, Payload, ShardWriter, SplitInfo, write_index
from mmtrain.tasks.catalog import CLASSIFICATION
from mmtrain.tasks.localisation import BACKGROUND

CLASSES: Final = ("low", "mid", "high")
_SPLITS: Final = ("train", "val", "test")
_PARTS: Final = ("frames", "spectrogram", "flow", "text")
_SIDE: Final = 32
_COLUMNS: Final = 40


def write_tiny_shards(folder: Path, samples: int = 24, task: str = CLASSIFICATION) -> Path:
    """Writes a finished data set of audio, visual, flow and text; half of its samples are in train.

    Args:
        folder: Folder of the data set; made if it is not there.
        samples: Samples in all splits, of three classes in turn; of two for ``binary``.
        task: Task that it is made for. Scores of ``regression`` grow with the class; samples of
            ``localisation`` have four segments, of which the first is background; ``answers`` has
            questions of two types.

    Returns:
        The folder.
    """
    classes = _TRUTHS[task].classes
    rows, shards, splits = [], [], {}
    for number, split in enumerate(_SPLITS):
        members = [i for i in range(samples) if _split_of(i) == split]
        file = io.BytesIO()
        writer = ShardWriter(file, _PARTS)
        for i in members:
            entry = writer.write(
                f"tiny_{i:03d}",
                _payload(i),
                target=_TRUTHS[task].target(i),
                group=_TRUTHS[task].groups[i // 4 % 2],
            )
            rows.append((entry, i % len(classes), number, number))
        writer.close()
        name = f"{split}/000000.tar"
        (folder / split).mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(file.getvalue())
        shards.append(writer.info(name, len(members)))
        labels = [i % len(classes) for i in members]
        counts = {label: labels.count(c) for c, label in enumerate(classes)}
        splits[split] = SplitInfo(samples=len(members), classes=counts)
    index = write_index(
        rows,
        classes=classes,
        splits=_SPLITS,
        shards=[shard.name for shard in shards],
        parts=("json", *_PARTS),
    )
    (folder / INDEX).write_bytes(index)
    dataset = Dataset(
        name="tiny",
        title="Noise in three classes",
        classes=classes,
        modalities=("audio", "visual"),
        parts={"names": list(_PARTS)},
        splits=splits,
        shards=tuple(shards),
        failures={},
        files={},
        made_by={},
        task=task,
        additions=_TRUTHS[task].additions,
    )
    (folder / DATASET).write_text(dataset.to_json(), "utf-8")
    return folder


class _Truth(NamedTuple):
    """What a task learns from, in the shards made for it."""

    classes: tuple[str, ...] = CLASSES
    target: Callable[[int], tuple[float, ...]] = lambda i: ()
    groups: tuple[str, str] = ("", "")
    additions: tuple[str, ...] = ()


def _score(i: int) -> tuple[float, ...]:
    return (1.5 * (i % len(CLASSES) - 1) + 0.1 * (i % 5),)


def _segments(i: int) -> tuple[float, ...]:
    background, event = len(CLASSES), i % len(CLASSES)
    return tuple(float(c) for c in (background, event, event, (event, background)[i % 2]))


_TRUTHS: Final[Mapping[str, _Truth]] = {
    CLASSIFICATION: _Truth(),
    "binary": _Truth(classes=CLASSES[:2]),
    "regression": _Truth(target=_score, additions=("target",)),
    "localisation": _Truth(classes=(*CLASSES, BACKGROUND), target=_segments, additions=("target",)),
    "answers": _Truth(groups=("Audio Counting", "Visual Location"), additions=("group",)),
}


def _split_of(i: int) -> str:
    return ("train", "train", "val", "test")[i % 4]


def _payload(i: int) -> Payload:
    """Parts of a sample: noise, with a tone and a shade that depend on the class."""
    noise, label = np.random.default_rng(i), i % len(CLASSES)
    sound = noise.normal(-12, 1, (257, _COLUMNS)).astype(np.float16)
    sound[20 + 80 * label] = -3
    spectrogram = io.BytesIO()
    np.save(spectrogram, sound)
    picture = noise.integers(60 * label, 60 * label + 120, (_SIDE, _SIDE, 3)).astype(np.uint8)
    # The two planes of a field stand below each other.
    motion = noise.integers(96, 160, (2 * _SIDE, _SIDE, 1)).astype(np.uint8)
    return {
        "json": [b"{}"],
        "frames": [_jpeg(picture, "RGB")],
        "spectrogram": [spectrogram.getvalue()],
        "flow": [_jpeg(motion, "GRAY")],
        "text": [f"{''.join(map(chr, noise.integers(97, 123, 4)))} {CLASSES[label]}".encode()],
    }


def _jpeg(pixels: NDArray[np.uint8], space: str) -> bytes:
    coded: bytes = simplejpeg.encode_jpeg(
        pixels, colorspace=space, colorsubsampling="Gray" if space == "GRAY" else "420"
    )
    return coded
