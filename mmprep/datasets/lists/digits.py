"""Pairs of a picture and a recording of the same digit (AV-MNIST from MNIST and spoken digits).

The pictures of a digit get its recordings in turn, ordered by take, then speaker, and after the
last again from the first. Each take belongs to one split, so no recording is in two.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Final

from mmprep.clips.decode import idx
from mmprep.datasets.lists.listed import Lists, files
from mmprep.datasets.spec import Spec
from mmprep.errors import ConfigError
from mmprep.manifest import Listed

log = logging.getLogger(__name__)

_VAL_PART: Final = 12  # The last twelfth of the train file: 5,000 of 60,000.
_TAKES: Final = {"test": range(5), "val": range(5, 10), "train": range(10, 50)}
_RECORDING: Final = re.compile(r"(?P<digit>\d)_(?P<speaker>[A-Za-z]+)_(?P<take>\d+)")


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Returns a pair for every picture; labels and recordings are read from the raw folder.

    Raises:
        ConfigError: A label file or the recordings of some digit are missing.
        DataError: A label file is broken.
    """
    if lists.raw is None:
        raise ConfigError(
            f"{spec.name} reads labels and recordings from the raw folder; give --raw a folder"
        )
    raw = Lists(None, lists.raw)
    train = idx.labels(raw.need(files(spec, "train"), spec)).tolist()
    test = idx.labels(raw.need(files(spec, "test"), spec)).tolist()
    sounds = _recordings(lists.raw)
    first_val = len(train) - len(train) // _VAL_PART
    return [
        *_pairs("train", "train-images", range(first_val), train, sounds),
        *_pairs("val", "train-images", range(first_val, len(train)), train, sounds),
        *_pairs("test", "t10k-images", range(len(test)), test, sounds),
    ]


def _recordings(raw: Path) -> dict[tuple[int, str], list[str]]:
    """Returns the names of the recordings by digit and split."""
    recordings = set()
    for path in raw.rglob("*.wav"):
        if match := _RECORDING.fullmatch(path.stem):
            recordings.add((int(match["take"]), match["speaker"], int(match["digit"])))
    sounds: dict[tuple[int, str], list[str]] = defaultdict(list)
    for take, speaker, digit in sorted(recordings):
        for split, takes in _TAKES.items():
            if take in takes:
                sounds[digit, split].append(f"{digit}_{speaker}_{take}")
    for digit in range(10):
        for split in _TAKES:
            if not sounds[digit, split]:
                raise ConfigError(
                    f"{raw} has no recording of digit {digit} for {split}: unpack the Free "
                    f"Spoken Digit Dataset's recordings/<digit>_<speaker>_<take>.wav there"
                )
    log.info("%d recordings of spoken digits", len(recordings))
    return sounds


def _pairs(
    split: str,
    pictures: str,
    indices: range,
    labels: list[int],
    sounds: dict[tuple[int, str], list[str]],
) -> Iterator[Listed]:
    turns = {digit: cycle(sounds[digit, split]) for digit in range(10)}
    for index in indices:
        recording = next(turns[labels[index]])
        yield Listed(
            key=f"{split}-{index:05d}",
            label=str(labels[index]),
            split=split,
            names={
                "image": (f"{pictures}-idx3-ubyte#{index}", f"{pictures}.idx3-ubyte#{index}"),
                "audio": (recording,),
            },
            extra={"speaker": recording.split("_")[1]},
        )
