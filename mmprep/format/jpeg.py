"""Size of a JPEG from its header, compared with its bytes before memory is taken for its pixels."""

from typing import Final

# A block of 64 pixels takes at least one bit, even in a picture of one colour: no file holds more
# than 512 pixels a byte. A few hundred bytes can claim 65,500 x 65,500.
PIXELS_PER_BYTE: Final = 1024
# Markers that begin a picture (SOF0 to SOF15), without the three of other meaning.
FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def picture_size(data: bytes) -> tuple[int, int]:
    """Height and width that a JPEG claims.

    Raises:
        ValueError: It is no JPEG, or its bytes are too few for that size.
    """
    at = 2
    while data.startswith(b"\xff\xd8") and at + 9 <= len(data) and data[at] == 0xFF:
        if data[at + 1] in FRAME_MARKERS:
            height, width = (int.from_bytes(data[at + i : at + i + 2]) for i in (5, 7))
            if height * width > PIXELS_PER_BYTE * len(data):
                raise ValueError(f"claims {width} x {height} pixels in {len(data)} bytes")
            return height, width
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    raise ValueError("no JPEG picture")
