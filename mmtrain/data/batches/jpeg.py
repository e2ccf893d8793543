"""JPEG pictures: their size from the header, their pixels, and the part of them that is shown."""

import threading
from functools import lru_cache
from typing import Final, NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from mmprep.format.jpeg import FRAME_MARKERS, PIXELS_PER_BYTE
from mmtrain.data.batches.view import Window
from mmtrain.data.reading.local import Bytes
from mmtrain.errors import DataError

# From this factor on, bilinear reduction would skip pixels; up to it, it looks as good as averaging
# over areas and is five times as fast.
_COARSE: Final = 2.5
# Pixels of each thread's last picture; the next picture takes the same memory.
_SCRATCH: Final = threading.local()
# Rows decoded beyond the wanted ones: the colour of a row is smoothed with that of the next pair.
_CONTEXT: Final = 2
# Markers of the codings that go from top to bottom.
_SEQUENTIAL: Final = (0xC0, 0xC1)
# First bytes of a file, in which its size stands unless it has comments or a thumbnail.
_HEAD_BYTES: Final = 192


class JpegHead(NamedTuple):
    """Facts from the header of a JPEG.

    Attributes:
        height: Rows of pixels.
        width: Pixels a row.
        at: Offset at which ``height`` is written.
        sequential: Whether it is coded from top to bottom, so that decoding can stop at any row.
    """

    height: int
    width: int
    at: int
    sequential: bool


def jpeg_head(data: Bytes) -> JpegHead:
    """Reads size and coding from the header of a JPEG.

    Raises:
        DataError: The bytes are no JPEG, or too few for the size that they claim.
    """
    # Pictures of one size and quality begin alike, so nearly every call finds its answer stored.
    head = _parse_head(data[:_HEAD_BYTES].tobytes()) or _parse_long_head(data)
    if head.height * head.width > PIXELS_PER_BYTE * len(data):
        raise DataError(f"claims {head.width} x {head.height} pixels in {len(data)} bytes")
    return head


def require_short_side(height: int, width: int, side: int | None) -> None:
    """Refuses a picture much larger than those of its data set, before memory is taken for it.

    Raises:
        DataError: Its shorter side is more than twice ``side``.
    """
    if side is not None and min(height, width) > 2 * side:
        raise DataError(f"is {width} x {height} where the shorter side is {side}")


@lru_cache(maxsize=256)
def _parse_head(data: bytes) -> JpegHead | None:
    """Reads the header, or returns None if it does not end within ``data``."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in FRAME_MARKERS:
            height, width = (data[at + i] << 8 | data[at + i + 1] for i in (5, 7))
            return JpegHead(height, width, at + 5, marker in _SEQUENTIAL)
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return None


def _parse_long_head(data: Bytes) -> JpegHead:
    # Around the store of answers, which would keep whole pictures alive.
    head = _parse_head.__wrapped__(data.tobytes())
    if head is None:
        raise DataError("is no JPEG picture")
    return head


def decode_jpeg(data: Bytes, space: str, head: JpegHead, rows: int) -> NDArray[np.uint8]:
    """Decodes the upper ``rows`` or more of a picture (H, W, C).

    The array lies in memory that the thread's next call overwrites.

    Args:
        data: Bytes of the JPEG; where rows are left out, damage below them goes unnoticed, so the
            bytes must have passed a checksum.
        space: Order of the channels: ``RGB``, ``BGR`` or ``GRAY``.
        head: Header of the same picture.
        rows: Number of rows that are needed, from the top.

    Raises:
        DataError: The picture is damaged.
    """
    need = head.height * head.width * (1 if space == "GRAY" else 3)
    scratch: NDArray[np.uint8] | None = getattr(_SCRATCH, "pixels", None)
    if scratch is None or len(scratch) < need:
        scratch = _SCRATCH.pixels = np.empty(need, np.uint8)
    whole = rows + _CONTEXT >= head.height or not head.sequential
    if not whole:
        # A picture that claims to be lower is decoded no further.
        data = data.copy()
        data[head.at], data[head.at + 1] = divmod(rows + _CONTEXT, 256)
    try:
        # To a strict decoder, the bytes behind the cut would be damage.
        picture = simplejpeg.decode_jpeg(data, space, buffer=scratch, strict=whole)
    except ValueError as error:
        raise DataError(f"is no picture ({error})") from error
    return np.asarray(picture)


def crop_and_resize(
    picture: NDArray[np.uint8], window: Window, flip: bool, out: NDArray[np.uint8]
) -> None:
    """Writes a window of a picture to ``out``, scaled to the size of ``out``.

    Args:
        picture: Pixels (H, W, 3) or (H, W). To flip, give colours in reverse order (BGR for RGB):
            then the bytes of a row can be mirrored in place of its pixels, twice as fast.
        window: Rectangle of the picture.
        flip: Whether the result is mirrored.
        out: Pixels to write.
    """
    pixels = picture[window.top : window.bottom, window.left : window.left + window.width]
    if pixels.shape != out.shape:
        # To its place, unless it has to be mirrored on the way.
        pixels = _resize(pixels, None if flip else out, out.shape[:2])
        if not flip:
            return
    if flip:
        cv2.flip(pixels.reshape(len(pixels), -1), 1, out.reshape(len(out), -1))
    else:
        np.copyto(out, pixels)


def _resize(
    pixels: NDArray[np.uint8], out: NDArray[np.uint8] | None, shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    height, width = shape
    coarse = pixels.shape[0] > _COARSE * height or pixels.shape[1] > _COARSE * width
    rule = cv2.INTER_AREA if coarse else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), dst=out, interpolation=rule), np.uint8)
