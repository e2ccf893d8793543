"""webdataset: tars that are read from front to back, our own shards as they are."""

from collections.abc import Iterator
from typing import Any, ClassVar

import webdataset as wds
from torch.utils.data import DataLoader

from rivals.base import Batch, Rival, decode_clip, decode_sound, frames_of, to_batch

_FORWARD = "no: tars are read from front to back, shards and a buffer are shuffled"


class WebDataset(Rival):
    """A pipeline with shuffled shards and a buffer of 100 samples, and our decoding."""

    packages = ("webdataset",)
    refused: ClassVar = {"random": _FORWARD, "scored": _FORWARD}
    remarks: ClassVar = {
        "default": "shards and a buffer shuffled",
        "audio": "reads the pictures too",
    }

    def prepare(self) -> None:
        """Opens the loaders; the shards need no conversion."""
        self._loaders = {order: self._loader(order) for order in ("default", "audio")}

    def epoch(self, order: str, epoch: int) -> Iterator[Batch]:
        """Yields the batches of the DataLoader."""
        for collated in self._loaders[order]:
            yield to_batch(collated)

    def _loader(self, order: str) -> DataLoader[Any]:
        urls = sorted(str(path) for path in self.setting.shards.rglob("*.tar"))
        audio = order == "audio"
        dataset = wds.WebDataset(
            urls,
            shardshuffle=len(urls),
            empty_check=False,
            select_files=_is_sound if audio else None,
        )
        mapped = dataset.shuffle(100).map(_sound if audio else _sample)
        return DataLoader(
            mapped,
            self.setting.batch_size,
            num_workers=self.setting.workers,
            persistent_workers=self.setting.workers > 0,
        )


def _is_sound(name: str) -> bool:
    return name.endswith(".npy")


def _sound(sample: dict[str, Any]) -> list[Any]:
    return [int(sample["__key__"][1:]), decode_sound(sample["spectrogram.npy"])]


def _sample(sample: dict[str, Any]) -> list[Any]:
    number, sound = _sound(sample)
    return [number, sound, decode_clip(number, frames_of(sample))]
