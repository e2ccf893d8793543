"""SPDL: pipelines of threads; it has no format, and its examples read files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import spdl.io
import torch
from spdl.dataloader import DataLoader
from spdl.io.utils import get_ffmpeg_versions
from torch.utils.data import default_collate

from rivals.base import (
    VIEW,
    Batch,
    Rival,
    chosen_frames,
    crop_of,
    decode_frames,
    to_batch,
    visits,
)


class Spdl(Rival):
    """Its DataLoader over numbers of samples, whose function reads files and decodes as we do."""

    packages = ("spdl",)
    remarks: ClassVar = {
        "default": "a file a frame, in the random order",
        "scored": "output_order='input'",
    }

    def prepare(self) -> None:
        """Writes a folder of files for each sample, unless that was done."""
        if not self._folder.exists():
            for clip in self.setting.clips():
                folder = self._of(clip.number)
                folder.mkdir(parents=True)
                for i, frame in enumerate(clip.frames):
                    (folder / f"frame{i:02}.jpg").write_bytes(frame)
                (folder / "sound.npy").write_bytes(clip.sound)
        self._frames = len(list(self._of(0).glob("*.jpg")))

    def epoch(self, order: str, epoch: int) -> Iterator[Batch]:
        """Yields the batches of a pipeline, which each epoch builds anew."""
        loader = DataLoader(
            visits(order, self.setting.samples, epoch),
            preprocessor=self._sound if order == "audio" else self._sample,
            batch_size=self.setting.batch_size,
            aggregator=self._collate,
            num_threads=self.setting.workers,
            output_order="input" if order == "scored" else "completion",
        )
        yield from loader

    @property
    def _folder(self) -> Path:
        return self.setting.root / "files"

    def _of(self, number: int) -> Path:
        return self._folder / f"{number:06}"

    def _coded(self, number: int) -> list[bytes]:
        folder = self._of(number)
        chosen = chosen_frames(number, self._frames)
        return [(folder / f"frame{i:02}.jpg").read_bytes() for i in chosen]

    def _sound(self, number: int) -> list[Any]:
        values = spdl.io.load_npy((self._of(number) / "sound.npy").read_bytes())
        return [number, torch.from_numpy(values)]

    def _sample(self, number: int) -> list[Any]:
        return [*self._sound(number), decode_frames(number, self._coded(number))]

    def _collate(self, samples: list[Any]) -> Batch:
        return to_batch(default_collate(samples))


class SpdlDecoding(Spdl):
    """The same with its own decoding, cropping and stacking of pictures, which FFmpeg does."""

    remarks: ClassVar = {}
    refused: ClassVar = {"audio": "no pictures: the same as spdl"}

    def prepare(self) -> None:
        """Writes the files, and looks for FFmpeg, without which samples would be dropped."""
        super().prepare()
        get_ffmpeg_versions()

    def _sample(self, number: int) -> list[Any]:
        coded = self._coded(number)
        top, left, flip = crop_of(number, coded[0])
        steps = [f"crop={VIEW.size}:{VIEW.size}:{left}:{top}", "format=pix_fmts=rgb24"]
        filters = ",".join([*steps, "hflip"] if flip else steps)
        frames = [spdl.io.decode_packets(spdl.io.demux_image(c), filters) for c in coded]
        return [*self._sound(number), frames]

    def _collate(self, samples: list[Any]) -> Batch:
        frames = [frame for sample in samples for frame in sample[2]]
        pictures = spdl.io.to_torch(spdl.io.convert_frames(frames))
        sounds = default_collate([sample[:2] for sample in samples])
        return to_batch([*sounds, pictures.view(len(samples), -1, *pictures.shape[1:])])
