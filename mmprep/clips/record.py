"""The record of a sample, `KEY.json`: its source, its times, and the checks it went through."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mmprep.clips.decode.clip import Clip
from mmprep.clips.parts.babble import SILENT, level
from mmprep.clips.parts.sequence import Features
from mmprep.manifest import Row

# Limits of the checks, below which a clip counts as black or frozen.
_BLACK: Final = 16  # mean of the brightest frame, out of 255
_FROZEN: Final = 0.5  # largest mean difference from the first frame, out of 255
_MISMATCH_S: Final = 1.0


class Record:
    """Collects the record of ``row`` while its sample is made.

    Attributes:
        seconds: Seconds that each stage took.
    """

    def __init__(self, row: Row) -> None:
        self.seconds: dict[str, float] = {}
        self._checks: dict[str, Any] = {}
        self._sound_s = 0.0
        self._is_cut = False
        self._fields: dict[str, Any] = {
            "key": row.key,
            "label": row.label,
            "split": row.split,
            "sources": dict(row.sources),
            "start": row.start,
            "end": row.end,
        }
        if row.extra:
            self._fields["extra"] = dict(row.extra)
        if row.target:
            self._fields["target"] = list(row.target)
        if row.group:
            self._fields["group"] = row.group
        if row.questions:
            self._fields["questions"] = [asdict(question) for question in row.questions]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures the time of a block; blocks of the same name add up."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

    def note(self, **fields: Any) -> None:
        """Adds ``fields`` to the record."""
        self._fields |= fields

    def add_clip(self, clip: Clip) -> None:
        """Adds length, frame rate and decoder of the source that sets the clip's times."""
        self.note(
            duration_s=round(clip.duration_s, 4),
            source_duration_s=round(clip.source_duration_s, 4),
            fps=round(clip.fps, 4),
            rotation=clip.rotation,
            decoder=clip.decoder,
        )
        # Noted where they are out of the common, so that the records of most clips stay as short.
        if clip.mirrored:
            self.note(mirrored=True)
        if clip.pixel_ratio != 1:
            self.note(pixel_ratio=round(clip.pixel_ratio, 4))
        self._checks["damaged"] = clip.damaged
        if self._sound_s and len(clip.times):
            gap_s = abs(self._sound_s - clip.duration_s)
            self._checks["duration_mismatch"] = self._is_cut or gap_s > _MISMATCH_S

    def add_listed_cut(self, start: float, end: float) -> None:
        """Adds that the file is a whole video, from which the listed clip was cut."""
        self.note(start=start, end=end)
        self._is_cut = True
        self._checks |= {"duration_mismatch": True, "whole_video": True}

    def add_pictures(self, times_s: Sequence[float], small: Sequence[NDArray[np.uint8]]) -> None:
        """Adds times and size of the frames, and checks whether they are black or frozen."""
        height, width = small[0].shape[:2]
        self.note(times_s=[round(max(t, 0.0), 4) for t in times_s], size=[width, height])
        self._checks["black"] = max(map(_mean, small)) < _BLACK
        moves = (np.asarray(cv2.absdiff(picture, small[0]), np.uint8) for picture in small[1:])
        self._checks["frozen"] = len(small) > 1 and max(map(_mean, moves)) < _FROZEN

    def add_sound(
        self, wave: NDArray[np.float32], rate_hz: int, clip_s: float, clip: Clip | None
    ) -> None:
        """Adds facts of the sound, and checks whether it is silent or must be looped.

        Args:
            wave: Decoded sound; empty for a clip without any.
            rate_hz: Sample rate of ``wave``.
            clip_s: Seconds to which the sound will be looped or cut.
            clip: Source of the sound; None for a sample without one.
        """
        length = len(wave) / rate_hz
        self._checks["no_audio"] = not len(wave)
        self._checks["silent"] = level(wave) < SILENT
        self._checks["looped"] = bool(len(wave)) and length < clip_s - 1e-3
        self.note(audio=clip.sound_facts if clip is not None and len(wave) else None)
        self._sound_s = length

    def add_sequence(self, features: Features) -> None:
        """Adds how many values of a feature sequence were changed, over all its sequences."""
        counts = {"nonfinite": features.nonfinite, "clipped": features.clipped}
        for name, count in counts.items():
            self._checks[name] = self._checks.get(name, 0) + count

    def to_json(self) -> bytes:
        """Bytes of `KEY.json`, on one line."""
        return json.dumps({**self._fields, "checks": self._checks}, ensure_ascii=False).encode()


def _mean(picture: NDArray[np.uint8]) -> float:
    """Mean of all values. OpenCV computes it ten times as fast as NumPy."""
    return float(sum(cv2.sumElems(picture))) / picture.size
