"""Reads a still image as RGB pictures of 8 bits, whatever its format and the suffix of its name.

OpenCV decodes, turns the picture as its EXIF says, and takes the first picture of an animation.
Where the picture is transparent, white shows through, as on most pages: the colours under full
transparency are leftovers that nobody sees.
"""

import struct
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from mmprep.clips.decode.bounds import check_picture
from mmprep.failure import ClipError

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8"
_GIF: Final = (b"GIF87a", b"GIF89a")
_END: Final = b"\xff\xd9"  # of a JPEG
_SCAN: Final = 0xDA


def read_image(path: Path) -> NDArray[np.uint8]:
    """Returns the picture in a file: (H, W, 3).

    Raises:
        ClipError: The cause is `too-large`, or `truncated` for a JPEG that ends before its end.
        ValueError: The file is no image, or is damaged.
    """
    content = path.read_bytes()
    _check_size(content)
    _check_end(content)
    picture = _decode(path, cv2.IMREAD_COLOR_RGB)
    if not _may_be_transparent(content):
        return np.asarray(picture, np.uint8)
    stored = _decode(path, cv2.IMREAD_UNCHANGED)
    if stored.ndim != 3 or stored.shape[2] != 4:
        return np.asarray(picture, np.uint8)
    return _over_white(stored)


def _decode(path: Path, flags: int) -> NDArray[np.generic]:
    try:
        picture = cv2.imread(str(path), flags)
    except cv2.error as error:
        raise ValueError("not an image that OpenCV reads") from error
    if picture is None:
        raise ValueError("not an image that OpenCV reads")
    return np.asarray(picture)


def _check_size(content: bytes) -> None:
    """Raises `ClipError` (`too-large`) if the header promises more pixels than a picture may have.

    Formats other than these have the decoder's own limit, which `mmprep.clips.worker` is started
    with.
    """
    if content.startswith(_JPEG):
        try:
            height, width, _, _ = simplejpeg.decode_jpeg_header(content)
        except ValueError:
            return  # the decoder names what is wrong
        check_picture(width, height)
    elif content.startswith(_PNG) and len(content) >= 24:
        check_picture(*struct.unpack(">II", content[16:24]))
    elif content.startswith(b"BM") and len(content) >= 26:
        width, height = struct.unpack("<ii", content[18:26])
        check_picture(abs(width), abs(height))
    elif content.startswith(_GIF) and len(content) >= 10:
        check_picture(*struct.unpack("<HH", content[6:10]))
    elif _is_webp(content):
        check_picture(*_webp_size(content))


def _is_webp(content: bytes) -> bool:
    return content.startswith(b"RIFF") and content[8:12] == b"WEBP" and len(content) >= 30


def _webp_size(content: bytes) -> tuple[int, int]:
    """Width and height by the first chunk: of an extended, a lossless or a lossy picture."""
    if content[12:16] == b"VP8X":
        width, height = (int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
        return width + 1, height + 1
    if content[12:16] == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", content[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _check_end(content: bytes) -> None:
    """Raises `ClipError` (`truncated`) for a JPEG whose rest OpenCV would fill with grey.

    In the data of a picture 0xff is followed by 0, so that its end can be searched for.
    """
    if not content.startswith(_JPEG):
        return
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        if content[at + 1] == 0xFF:
            at += 1
            continue
        if content[at + 1] == _SCAN:
            if content.find(_END, at) < 0:
                break
            return
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    else:
        if at < len(content) and content[at] != 0xFF:
            return  # the decoder names what is wrong
    raise ClipError("video", "truncated", "a JPEG that ends before its picture does")


def _may_be_transparent(content: bytes) -> bool:
    """Whether a header has room for transparency; most pictures need not be decoded twice."""
    if content.startswith(_PNG):
        # Colour types 4 and 6 have alpha; a palette may have it in a chunk before the data.
        return content[25:26] in (b"\4", b"\6") or b"tRNS" in content[: content.find(b"IDAT")]
    if _is_webp(content):
        kind = content[12:16]
        return kind == b"VP8L" or (kind == b"VP8X" and any(flag & 0x10 for flag in content[20:21]))
    return content.startswith(_GIF)


def _over_white(picture: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Lays a picture (H, W, 4) of blue, green, red and alpha on white: RGB of 8 bits."""
    most = 65535.0 if picture.dtype == np.uint16 else 255.0
    values = picture.astype(np.float32) / np.float32(most)
    alpha = values[..., 3:]
    rgb = values[..., 2::-1] * alpha + (1 - alpha)
    return np.asarray(np.rint(255 * rgb), np.uint8)
