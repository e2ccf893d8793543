"""litData: chunks of items; an item is the frames' bytes and the spectrogram's array."""

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

import torch
from litdata import StreamingDataLoader, StreamingDataset, optimize
from torch.utils.data import Dataset

from rivals.base import (
    Batch,
    Clip,
    Rival,
    Setting,
    columns,
    decode_clip,
    frames_of,
    sound_array,
    to_batch,
    visits,
)
from rivals.mapstyle import SampledLoader

# Its documentation's size of chunks.
_CHUNK = "64MB"


class LitData(Rival):
    """`StreamingDataset` with its shuffling, and its items by number for other orders."""

    packages = ("litdata",)
    mapped = True
    remarks: ClassVar = {
        "default": "chunks shuffled, then items in each",
        "random": "dataset[number] behind torch's sampler",
        "scored": "dataset[number] behind torch's sampler",
        "audio": "reads the pictures too",
    }

    def prepare(self) -> None:
        """Writes the chunks, and opens a loader for each order."""
        optimize(
            fn=partial(_item, self.setting),
            inputs=list(range(self.setting.samples)),
            output_dir=self._folder,
            num_workers=1,
            chunk_bytes=_CHUNK,
            keep_data_ordered=True,
        )
        self._streams = {order: self._stream(order) for order in ("default", "audio")}
        self._sampled = {
            order: SampledLoader(_Numbered(self._folder), self.setting)
            for order in ("random", "scored")
        }

    def epoch(self, order: str, epoch: int) -> Iterator[Batch]:
        """Yields the batches of the order's loader."""
        if order in self._sampled:
            numbers = visits(order, self.setting.samples, epoch)
            yield from self._sampled[order].batches(numbers)
            return
        for collated in self._streams[order]:
            yield to_batch(collated)

    @property
    def _folder(self) -> str:
        return str(self.setting.root / "litdata")

    def _stream(self, order: str) -> StreamingDataLoader:
        return StreamingDataLoader(
            _items(self._folder, audio=order == "audio", shuffle=True),
            batch_size=self.setting.batch_size,
            num_workers=self.setting.workers,
            persistent_workers=self.setting.workers > 0,
        )


class _Numbered(Dataset[list[Any]]):
    """Items by number."""

    def __init__(self, folder: str) -> None:
        self._items = _items(folder, audio=False)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, number: int) -> list[Any]:
        item: list[Any] = self._items[number]
        return item


def _items(folder: str, *, audio: bool, shuffle: bool = False) -> StreamingDataset:
    # By itself it decodes eight such items at once, which takes longer in any order but the stored.
    decode = partial(_decode, audio=audio)
    return StreamingDataset(folder, shuffle=shuffle, transform=decode, batch_decode=0)


def _item(setting: Setting, number: int) -> dict[str, Any]:
    clip: Clip = setting.clip(number)
    # A leaf for each frame: a list would be one leaf of JSON.
    return {"number": number, "sound": sound_array(clip.sound), **columns(clip.frames)}


def _decode(item: dict[str, Any], *, audio: bool) -> list[Any]:
    number = int(item["number"])
    parts = [number, torch.as_tensor(item["sound"])]
    return parts if audio else [*parts, decode_clip(number, frames_of(item))]
