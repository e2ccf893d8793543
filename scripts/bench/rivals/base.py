"""The interface of a library under test, and what all of them share: clips, orders and decoding."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.data import ShardedDataset, View, open_dataset
from mmtrain.data.batches.array import array_header
from mmtrain.data.batches.decode import ColourDecoder
from mmtrain.data.batches.jpeg import jpeg_head

VIEW: Final = View(crop="random-crop")
ORDERS: Final = {
    "default": "each library's own order of training",
    "random": "each sample once, in a random order of all",
    "scored": "a given order of numbers with repeats, another one each epoch",
    "audio": "the spectrogram alone, in the default order",
}
# Random numbers of the crops, by number of the sample, so that all libraries cut the same.
_DRAWS: Final = VIEW.draws(0, 0, 0, 1024)
_DECODER: Final = ColourDecoder("frames", VIEW, checked=True)


class Batch(NamedTuple):
    """Tensors of a batch.

    Attributes:
        pictures: (B, 3, 3, size, size) uint8; None where only sound is read.
        sound: (B, 1, frequencies, columns) float16.
        numbers: (B,) number of each sample.
    """

    pictures: Tensor | None
    sound: Tensor
    numbers: Tensor


class Clip(NamedTuple):
    """Bytes of a sample as the shards have them."""

    number: int
    frames: list[bytes]
    sound: bytes


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Conditions that are the same for all libraries.

    Attributes:
        root: Folder of the formats; ours is its folder ``shards``.
        batch_size: Samples a batch.
        workers: Number of threads or processes that decode.
    """

    root: Path
    batch_size: int
    workers: int

    @property
    def shards(self) -> Path:
        """Folder of our own shards, from which all others are made."""
        return self.root / "shards"

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self._data.index)

    def clips(self) -> Iterator[Clip]:
        """Yields all clips in the order of their numbers.

        Raises:
            ValueError: Clips have different numbers of frames, for which rows of columns are unfit.
        """
        count = 0
        for number in range(self.samples):
            clip = self.clip(number)
            count = count or len(clip.frames)
            if len(clip.frames) != count:
                raise ValueError(f"clip {number} has {len(clip.frames)} frames, others {count}")
            yield clip

    def clip(self, number: int) -> Clip:
        """Reads the clip of a number."""
        data = self._data
        shard, parts = data.index.shards[data.index.shard[number]], data.index.members(number)
        frames, (sound,) = (
            [data.store.read(shard, m.offset, m.offset + m.size) for m in parts[part]]
            for part in ("frames", "spectrogram")
        )
        return Clip(number, frames, sound)

    @property
    def _data(self) -> ShardedDataset:
        # Not kept in the setting, which goes to other processes.
        return _open(str(self.shards))


class Rival(ABC):
    """A library with its format.

    Args:
        setting: Conditions of the measurement.
    """

    packages: ClassVar[Sequence[str]] = ()
    """Distributions, whose versions are printed."""
    refused: ClassVar[Mapping[str, str]] = {}
    """Order that the library has not, to the reason."""
    remarks: ClassVar[Mapping[str, str]] = {}
    """Order to what its row should tell."""
    mapped: ClassVar[bool] = False
    """Whether files are mapped into memory, so that no call shows how much is read."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    @abstractmethod
    def prepare(self) -> None:
        """Writes the samples in the library's format, and opens what lasts for all epochs."""

    @abstractmethod
    def epoch(self, order: str, epoch: int) -> Iterator[Batch]:
        """Yields the batches of an epoch, in an order of `ORDERS` that is not refused."""


def visits(order: str, samples: int, epoch: int) -> list[int]:
    """Numbers of the samples of an epoch, in order; scored ones as if scores were log-normal."""
    rng = np.random.default_rng(epoch)
    if order != "scored":
        return [int(number) for number in rng.permutation(samples)]
    weights = np.exp(rng.standard_normal(samples))
    return [int(number) for number in rng.choice(samples, samples, p=weights / weights.sum())]


def chosen_frames(number: int, count: int) -> list[int]:
    """Numbers of the frames that are shown of a clip of ``count``."""
    return VIEW.choose_frames(count, _DRAWS[number % len(_DRAWS)])


def decode_frames(number: int, frames: Sequence[Any]) -> Tensor:
    """Decodes, crops and flips the coded pictures that are shown, as the stream does.

    Args:
        number: Number of the sample.
        frames: Bytes of the chosen frames.

    Returns:
        Pictures (3, size, size, 3) uint8.
    """
    draws = _DRAWS[number % len(_DRAWS)]
    pictures = np.empty(_DECODER.shape, np.uint8)
    for place, frame in enumerate(frames):
        _DECODER.decode(np.frombuffer(frame, np.uint8), draws, pictures, place)
    return torch.from_numpy(pictures)


def decode_clip(number: int, frames: Sequence[Any]) -> Tensor:
    """Chooses frames of a whole clip and decodes them."""
    return decode_frames(number, [frames[i] for i in chosen_frames(number, len(frames))])


def decode_sound(data: bytes) -> Tensor:
    """Views the values of an `.npy` file, without a copy."""
    return torch.from_numpy(sound_array(data))


def sound_array(data: bytes) -> NDArray[np.float16]:
    """Views the values of an `.npy` file, without a copy."""
    begin, shape, dtype = array_header(np.frombuffer(data, np.uint8))
    values: NDArray[np.float16] = np.frombuffer(data, dtype, offset=begin).reshape(shape)
    return values


def columns(frames: Sequence[bytes]) -> dict[str, bytes]:
    """Returns frames by names of columns, which sort in their order."""
    return {f"frame{i:02}": frame for i, frame in enumerate(frames)}


def frames_of(sample: Mapping[str, Any]) -> list[Any]:
    """Returns the coded frames of a sample in their order, from columns or members of a tar."""
    return [sample[name] for name in sorted(sample) if name.startswith("frame")]


def to_batch(collated: Sequence[Tensor]) -> Batch:
    """Views what torch's default collation has stacked: numbers, sound and perhaps pictures."""
    numbers, sound, *pictures = collated
    seen = pictures[0].permute(0, 1, 4, 2, 3) if pictures else None
    return Batch(seen, sound[:, None], numbers)


def crop_of(number: int, frame: bytes) -> tuple[int, int, bool]:
    """Returns top and left of a sample's crop, and whether it is mirrored."""
    head, draws = jpeg_head(np.frombuffer(frame, np.uint8)), _DRAWS[number % len(_DRAWS)]
    window = VIEW.window(draws, head.height, head.width)
    return window.top, window.left, VIEW.flips(draws)


@lru_cache(maxsize=1)
def _open(folder: str) -> ShardedDataset:
    return open_dataset(folder)
