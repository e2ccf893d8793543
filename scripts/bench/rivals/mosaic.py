"""MosaicML streaming: MDS shards, a column for each frame and one for the spectrogram."""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from streaming import LocalDataset, MDSWriter, StreamingDataset
from torch.utils.data import DataLoader

from rivals.base import Batch, Rival, columns, decode_clip, frames_of, sound_array, to_batch, visits
from rivals.mapstyle import SampledLoader


class Mosaic(Rival):
    """`StreamingDataset` with its shuffling, and `LocalDataset` for a given order."""

    packages = ("mosaicml-streaming",)
    remarks: ClassVar = {
        "default": "shuffle_algo py1e: blocks of shards",
        "random": "shuffle_algo naive",
        "scored": "LocalDataset behind torch's sampler",
        "audio": "reads the pictures too",
    }

    def prepare(self) -> None:
        """Writes the shards, and opens a loader for each order."""
        self._write()
        self._scored = SampledLoader(_Given(str(self.setting.root / "mosaic")), self.setting)
        self._streams = {order: self._stream(order) for order in ("default", "random", "audio")}

    def epoch(self, order: str, epoch: int) -> Iterator[Batch]:
        """Yields the batches of the order's loader."""
        if order == "scored":
            yield from self._scored.batches(visits(order, self.setting.samples, epoch))
            return
        for collated in self._streams[order]:
            yield to_batch(collated)

    def _write(self) -> None:
        writer = None
        for clip in self.setting.clips():
            frames = columns(clip.frames)
            sound = sound_array(clip.sound)
            if writer is None:
                shape = ",".join(map(str, sound.shape))
                kinds = {"number": "int", "sound": f"ndarray:{sound.dtype}:{shape}"}
                kinds |= dict.fromkeys(frames, "bytes")
                writer = MDSWriter(out=str(self.setting.root / "mosaic"), columns=kinds)
            writer.write({"number": clip.number, "sound": sound, **frames})
        if writer is not None:
            writer.finish()

    def _stream(self, order: str) -> DataLoader[Any]:
        # A folder is refused to a second data set of one process, so each has a link of its own.
        folder = self.setting.root / f"mosaic-{order}"
        folder.symlink_to(self.setting.root / "mosaic", target_is_directory=True)
        dataset = _Stream(
            order == "audio",
            local=str(folder),
            shuffle=True,
            batch_size=self.setting.batch_size,
            **({"shuffle_algo": "naive"} if order == "random" else {}),
        )
        return DataLoader(
            dataset,
            self.setting.batch_size,
            num_workers=self.setting.workers,
            persistent_workers=self.setting.workers > 0,
        )


class _Given(LocalDataset):  # type: ignore[misc]  # the library has no types
    """Samples by number."""

    def __getitem__(self, at: Any) -> Any:
        return _decode(super().__getitem__(at), audio=False)


class _Stream(StreamingDataset):  # type: ignore[misc]  # the library has no types
    """Samples in the library's order."""

    def __init__(self, audio: bool, **options: Any) -> None:
        super().__init__(**options)
        self.audio = audio

    def __getitem__(self, at: Any) -> Any:
        return _decode(super().__getitem__(at), audio=self.audio)


def _decode(sample: dict[str, Any], *, audio: bool) -> list[Any]:
    parts = [int(sample["number"]), torch.from_numpy(sample["sound"])]
    if not audio:
        parts.append(decode_clip(parts[0], frames_of(sample)))
    return parts
