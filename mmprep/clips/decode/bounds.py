"""Bounds on what one clip may ask for, checked before memory is taken for it."""

from typing import Final

from mmprep.failure import ClipError

# 8192 x 8192: twice the pixels of an 8K picture. Decoders hold several of them at once.
MAX_PIXELS: Final = 1 << 26
# Width and height of a JPEG end here (libjpeg).
MAX_JPEG_SIDE: Final = 65_500
# An hour at 48 kHz, the longest clip that `PartsConfig` admits.
MAX_SAMPLES: Final = 3600 * 48_000
# The largest array of a feature file that is read whole; half an hour of 1,024 features at 25 Hz
# takes an eighth of it.
MAX_ARRAY_BYTES: Final = 1 << 30
# Steps x features of one sequence: 20 minutes of 512 features at 25 Hz.
MAX_VALUES: Final = 1 << 24
MAX_TEXT_BYTES: Final = 1 << 20


def check_picture(width: int, height: int) -> None:
    """Raises `ClipError` (`too-large`) if a picture has more pixels than a clip may have."""
    if width * height > MAX_PIXELS:
        raise ClipError(
            "video", "too-large", f"{width} x {height} pictures; up to {MAX_PIXELS} pixels are read"
        )


def check_scaled(width: int, height: int) -> None:
    """Raises `ClipError` (`too-large`) if a picture of a part does not fit into a JPEG."""
    if max(width, height) > MAX_JPEG_SIDE or width * height > MAX_PIXELS:
        raise ClipError(
            "parts",
            "too-large",
            f"the part's pictures would be {width} x {height}; a JPEG side is at most "
            f"{MAX_JPEG_SIDE} pixels, choose a smaller short_side",
        )
