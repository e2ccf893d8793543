"""Frames: which pictures of a clip a sample keeps, their size, and their JPEG."""

from collections.abc import Sequence

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from mmprep.clips.decode.bounds import check_scaled

# Matroska rounds time stamps to milliseconds; a picture whose stamp was rounded up past the wanted
# instant must still count as on display then.
_SLACK_S = 6e-4


# A clip needs half of the seconds that the data set cuts, and never more than this.
_SHORTEST_S = 0.5


def shortest_s(fps: float, clip_s: float) -> float:
    """Seconds of pictures that a clip needs: half of ``clip_s``, at most 0.5, and one frame's half.

    Args:
        fps: Frames a second.
        clip_s: Seconds of a whole clip.
    """
    return max(min(_SHORTEST_S, clip_s / 2), 0.5 / fps)


def frame_times(duration_s: float, fps: float, limit_s: float) -> NDArray[np.float64]:
    """Middle of each interval of ``1 / fps`` seconds that the clip reaches: (T,) seconds.

    At 1 fps a clip of 10 s gives 10 frames, one of 2.6 s gives 3, and one of 2.4 s gives 2.

    Args:
        duration_s: Length of the clip.
        fps: Frames a second.
        limit_s: Length after which a longer clip is cut.
    """
    length = min(duration_s, limit_s)
    count = int(np.floor(length * fps + 0.5 + 1e-6))
    return (np.arange(count, dtype=np.float64) + 0.5) / fps


def indices_on_display(times: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the picture on display at each of the instants ``at``: the last that has begun."""
    return np.maximum(np.searchsorted(times, at + _SLACK_S, side="right") - 1, 0)


def crop(picture: NDArray[np.uint8], region: Sequence[float]) -> NDArray[np.uint8]:
    """View of the part of ``picture`` (H, W, ...) in ``region``, of at least one pixel.

    Args:
        picture: Upright picture; whether its pixels are square makes no difference to fractions.
        region: Left, right, top and bottom edge as fractions of the width and height.
    """
    height, width = picture.shape[:2]
    left, right, top, bottom = region
    return picture[_pixels(top, bottom, height), _pixels(left, right, width)]


def _pixels(begin: float, end: float, count: int) -> slice:
    first = min(round(begin * count), count - 1)
    return slice(first, max(round(end * count), first + 1))


def resize(
    picture: NDArray[np.uint8], short_side: int, pixel_ratio: float = 1.0
) -> NDArray[np.uint8]:
    """Resizes ``picture`` (H, W, 3) or (H, W) to a shorter side of ``short_side`` square pixels.

    Args:
        picture: Picture of any size.
        short_side: Pixels of the shorter side of the result.
        pixel_ratio: Width of a pixel of ``picture`` divided by its height.

    Raises:
        ClipError: The cause is `too-large`: the result does not fit into a JPEG.
    """
    height, width = picture.shape[:2]
    size = scaled_size(width, height, short_side, pixel_ratio)
    if size == (width, height):
        return np.ascontiguousarray(picture)
    shrinks = short_side < min(height, width * pixel_ratio)
    rule = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=rule), np.uint8)


def scaled_size(
    width: int, height: int, short_side: int, pixel_ratio: float = 1.0
) -> tuple[int, int]:
    """Width and height of a picture that is resized to a shorter side of ``short_side``.

    Raises:
        ClipError: The cause is `too-large`: such a picture does not fit into a JPEG.
    """
    shown_width = width * pixel_ratio
    scale = short_side / min(height, shown_width)
    size = max(short_side, round(shown_width * scale)), max(short_side, round(height * scale))
    check_scaled(*size)
    return size


def luma(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luma (H, W) of an RGB picture."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG bytes of an RGB picture (H, W, 3), or of a grey one (H, W)."""
    space, sampling = ("GRAY", "Gray") if picture.ndim == 2 else ("RGB", "420")
    pixels = np.ascontiguousarray(picture[..., None] if picture.ndim == 2 else picture)
    return bytes(
        simplejpeg.encode_jpeg(pixels, quality=quality, colorspace=space, colorsubsampling=sampling)
    )


def difference(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB difference of neighbouring pictures: ``(after - before) / 2 + 128``, in 8 bits.

    128 means no change. The papers name no range; halving lets every difference fit.
    """
    return ((after.astype(np.int16) - before) // 2 + 128).astype(np.uint8)
