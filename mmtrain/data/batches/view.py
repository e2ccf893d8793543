"""Frames, crop and flip of pictures: which of a clip's are shown, and which part of them.

Lengths of texts and sequences, and the tokenizer of texts, are part of the view too.

Every choice is a function of (seed, epoch, position in the order) and of nothing else; workers,
ranks and resuming cannot change it. All frames of a clip, and its flow, share one crop and flip.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple, Self, TypeAlias

import numpy as np

from mmtrain.errors import ConfigError, DataError, UnknownName

CROPS: Final = ("random-resized-crop", "random-crop", "resize")
# Name of the tokenizer that needs no file.
BYTES: Final = "bytes"
# Attempts, shares of the area and ratios of width to height of torchvision's RandomResizedCrop.
_TRIES: Final = 10
_AREA: Final = (0.08, 1.0)
_RATIO: Final = (3 / 4, 4 / 3)
_LOG_RATIO: Final = (math.log(_RATIO[0]), math.log(_RATIO[1]))

# Numbers in [0, 1): flip, top, left, then areas and ratios to try, then one a frame.
Draws: TypeAlias = Sequence[float]
_HEAD: Final = 3 + 2 * _TRIES


class Window(NamedTuple):
    """Rectangle of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """Row below the last."""
        return self.top + self.height


@dataclass(frozen=True, kw_only=True)
class View:
    """Choice of frames, crop and flip; tokenizer and length of texts; length of sequences.

    Attributes:
        frames: Number N of frames of a clip: one from each of N segments.
        size: Side of the square picture in pixels.
        crop: Kind of crop: ``random-resized-crop`` (area .08 to 1, ratio 3/4 to 4/3, as the papers
            train), ``random-crop`` (``size`` pixels, no scaling) or ``resize`` (all of the
            picture).
        flip: Whether every second clip is mirrored.
        random: Whether there is chance, as in training. Without it frames are the centres of their
            segments, nothing is mirrored, ``random-crop`` takes the middle and
            ``random-resized-crop`` resizes all of the picture.
        tokenizer: Tokenizer of texts: ``bytes``, whose tokens are the bytes of UTF-8, or the path
            of a JSON file of the library `tokenizers`.
        length: Number of tokens of a text; longer ones are cut.
        steps: Number of steps of a feature sequence; longer ones are cut.
    """

    frames: int = 3
    size: int = 224
    crop: str = "random-resized-crop"
    flip: bool = True
    random: bool = True
    tokenizer: str = BYTES
    length: int = 128
    steps: int = 50

    def __post_init__(self) -> None:
        if self.crop not in CROPS:
            raise UnknownName("crop", self.crop, CROPS)
        if self.frames < 1 or self.size < 1:
            raise ConfigError(f"frames and size are at least 1; got {self.frames} and {self.size}")
        if self.length < 1 or self.steps < 1:
            raise ConfigError(f"length and steps are at least 1; got {self.length}, {self.steps}")

    def evaluation(self) -> Self:
        """Returns the same view without chance."""
        return replace(self, random=False)

    def draws(self, seed: int, epoch: int, begin: int, end: int) -> list[Draws]:
        """Draws the numbers on which the choices for visits ``begin`` to ``end - 1`` depend.

        A visit's numbers are the same whatever ``begin`` and ``end`` are. Without chance all are
        .5.
        """
        # A generator that computes any number from its count, four a count: no state to carry from
        # visit to visit, and none to save.
        counts = -(-(_HEAD + self.frames) // 4)
        if not self.random:
            return [[0.5] * (4 * counts)] * (end - begin)
        bits = np.random.Philox(key=[seed, epoch], counter=[counts * begin, 0, 0, 0])
        # As lists, since numbers that are used one by one are cheaper as Python's own.
        draws: list[Draws] = np.random.Generator(bits).random((end - begin, 4 * counts)).tolist()
        return draws

    def flips(self, draws: Draws) -> bool:
        """Decides whether the clip is mirrored."""
        return self.flip and draws[0] < 0.5

    def choose_frames(self, count: int, draws: Draws) -> list[int]:
        """Chooses which of ``count`` frames are shown: one from each segment, in order.

        The segments are disjoint and cover the clip: every frame can be shown, and none is shown
        twice unless there are fewer than asked for.

        Raises:
            DataError: ``count`` is 0.
        """
        if not count:
            raise DataError("has no frames")
        segments = _segments(count, self.frames)
        return [
            begin + int(u * width)
            for (begin, width), u in zip(segments, draws[_HEAD : _HEAD + self.frames], strict=True)
        ]

    def window(self, draws: Draws, height: int, width: int) -> Window:
        """Chooses the part of a (``height``, ``width``) picture that is shown.

        Raises:
            ConfigError: The picture is smaller than ``random-crop`` cuts.
        """
        if self.crop == "random-crop":
            if min(height, width) < self.size:
                raise ConfigError(
                    f"random-crop of {self.size} pixels does not fit pictures of {width} x "
                    f"{height}; choose a smaller size, or another of {', '.join(CROPS)}"
                )
            return _place_window(draws, (height, width), (self.size, self.size))
        if self.crop == "resize" or not self.random:
            return Window(0, 0, height, width)
        return _place_window(draws, (height, width), _crop_size(draws, height, width))


@lru_cache(maxsize=256)
def _segments(count: int, frames: int) -> tuple[tuple[int, int], ...]:
    """First frame and length of each of ``frames`` segments of a clip of ``count`` frames."""
    edges = [(2 * i * count + frames) // (2 * frames) for i in range(frames + 1)]
    return tuple(
        (min(begin, count - 1), max(1, end - min(begin, count - 1)))
        for begin, end in pairwise(edges)
    )


def _crop_size(draws: Draws, height: int, width: int) -> tuple[int, int]:
    """Height and width of torchvision's RandomResizedCrop: those of the first try that fits."""
    low, high = _LOG_RATIO
    for i in range(_TRIES):
        area = height * width * (_AREA[0] + draws[3 + i] * (_AREA[1] - _AREA[0]))
        ratio = math.exp(low + draws[3 + _TRIES + i] * (high - low))
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            return h, w
    return min(height, round(width / _RATIO[0])), min(width, round(height * _RATIO[1]))


def _place_window(draws: Draws, outer: tuple[int, int], inner: tuple[int, int]) -> Window:
    (height, width), (h, w) = outer, inner
    return Window(int(draws[1] * (height - h + 1)), int(draws[2] * (width - w + 1)), h, w)
