"""Reads the size of a still image from its header, before a decoder takes memory for it."""

import struct
from pathlib import Path
from typing import Final

import simplejpeg

from mmprep.clips.decode.bounds import check_picture

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8"


def check_image(path: Path) -> None:
    """Raises `ClipError` (`too-large`) if the header promises more pixels than a picture may have.

    Formats other than JPEG, PNG and BMP have the decoder's own limit, which `mmprep.clips.worker`
    is started with.
    """
    content = path.read_bytes()
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
