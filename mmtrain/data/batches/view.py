"""How pictures of a clip are looked at: which frames, which crop, mirrored or not.

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
_TRIES: Final = 10
_AREA: Final = (0.08, 1.0)
_RATIO: Final = (3 / 4, 4 / 3)

# Numbers in [0, 1): flip, top, left, then areas and ratios to try, then one a frame.
Draws: TypeAlias = Sequence[float]
_HEAD: Final = 3 + 2 * _TRIES


class Window(NamedTuple):
    """A rectangle of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """The row below the last."""
        return self.top + self.height


@dataclass(frozen=True, kw_only=True)
class View:
    """How clips are shown.

    Attributes:
        frames: Frames of a clip (N): one from each of N segments.
        size: Side of the square picture in pixels.
        crop: ``random-resized-crop`` (area .08 to 1, ratio 3/4 to 4/3, as the papers train),
            ``random-crop`` (``size`` pixels, no scaling) or ``resize`` (all of the picture).
        flip: Mirror every second clip.
        random: Training. Otherwise frames are the centres of their segments, nothing is mirrored,
            ``random-crop`` takes the middle and ``random-resized-crop`` resizes all of the picture.
    """

    frames: int = 3
    size: int = 224
    crop: str = "random-resized-crop"
    flip: bool = True
    random: bool = True

    def __post_init__(self) -> None:
        if self.crop not in CROPS:
            raise UnknownName("crop", self.crop, CROPS)
        if self.frames < 1 or self.size < 1:
            raise ConfigError(f"frames and size are at least 1; got {self.frames} and {self.size}")

    def evaluation(self) -> Self:
        """The same without chance."""
        return replace(self, random=False)

    def draws(self, seed: int, epoch: int, begin: int, end: int) -> list[Draws]:
        """For each of (end - begin) visits, numbers that decide all about it; .5 without chance.

        A visit's are the same whatever ``begin`` and ``end`` are, and cost no others to find.
        """
        # A counter-based generator, four numbers a count.
        counts = -(-(_HEAD + self.frames) // 4)
        if not self.random:
            return [[0.5] * (4 * counts)] * (end - begin)
        bits = np.random.Philox(key=[seed, epoch], counter=[counts * begin, 0, 0, 0])
        # Lists, because one by one Python's own numbers are cheaper.
        drawn: list[Draws] = np.random.Generator(bits).random((end - begin, 4 * counts)).tolist()
        return drawn

    def flipped(self, draws: Draws) -> bool:
        """Whether the clip is mirrored."""
        return self.flip and draws[0] < 0.5

    def chosen(self, count: int, draws: Draws) -> list[int]:
        """Which of ``count`` frames are shown: one from each segment, in order.

        The segments are disjoint and cover the clip: every frame can be shown, and none is shown
        twice unless there are fewer than asked for.

        Raises:
            DataError: There are none.
        """
        if not count:
            raise DataError("has no frames")
        segments = _segments(count, self.frames)
        return [
            begin + int(u * width)
            for (begin, width), u in zip(segments, draws[_HEAD : _HEAD + self.frames], strict=True)
        ]

    def window(self, draws: Draws, height: int, width: int) -> Window:
        """The part of a (``height``, ``width``) picture that is shown.

        Raises:
            ConfigError: The picture is smaller than ``random-crop`` cuts.
        """
        if self.crop == "random-crop":
            if min(height, width) < self.size:
                raise ConfigError(
                    f"random-crop of {self.size} pixels does not fit pictures of {width} x "
                    f"{height}; choose a smaller size, or another of {', '.join(CROPS)}"
                )
            return _placed(draws, (height, width), (self.size, self.size))
        if self.crop == "resize" or not self.random:
            return Window(0, 0, height, width)
        return _placed(draws, (height, width), _scaled(draws, height, width))


@lru_cache(maxsize=256)
def _segments(count: int, frames: int) -> tuple[tuple[int, int], ...]:
    """First of ``count`` frames and length, of each of ``frames`` segments."""
    edges = [(2 * i * count + frames) // (2 * frames) for i in range(frames + 1)]
    return tuple(
        (min(begin, count - 1), max(1, end - min(begin, count - 1)))
        for begin, end in pairwise(edges)
    )


def _scaled(draws: Draws, height: int, width: int) -> tuple[int, int]:
    """Height and width of torchvision's RandomResizedCrop: the first try that fits."""
    low, high = math.log(_RATIO[0]), math.log(_RATIO[1])
    for i in range(_TRIES):
        area = height * width * (_AREA[0] + draws[3 + i] * (_AREA[1] - _AREA[0]))
        ratio = math.exp(low + draws[3 + _TRIES + i] * (high - low))
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            return h, w
    return min(height, round(width / _RATIO[0])), min(width, round(height * _RATIO[1]))


def _placed(draws: Draws, outer: tuple[int, int], inner: tuple[int, int]) -> Window:
    (height, width), (h, w) = outer, inner
    return Window(int(draws[1] * (height - h + 1)), int(draws[2] * (width - w + 1)), h, w)
