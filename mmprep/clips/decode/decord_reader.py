"""Decodes pictures by decord, for those who compare decoders; PyAV is more exact.

decord numbers the frames that it decodes but takes their times from the packets. If an edit list
drops frames at the beginning (phone clips, cut YouTube clips), its picture is from up to a second
later than the time it gives; for AVI with B-frames it gives no times at all. So its times are
compared with the container's, and PyAV takes over if they differ.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

# Larger than the rounding of time stamps, and far smaller than the length of a frame.
_TOLERANCE_S = 2e-3


def pictures(
    path: Path,
    stamps_s: NDArray[np.float64],
    first: int,
    wanted: Sequence[int],
    convert: Callable[[int, NDArray[np.uint8]], T],
) -> dict[int, T] | None:
    """Results of ``convert`` by their index in ``stamps_s``, or None if decord's times are wrong.

    Args:
        path: Path of the media file.
        stamps_s: Seconds of the pictures according to the container, from number ``first`` on.
        first: Number of pictures of the file before ``stamps_s``.
        wanted: Indices in ``stamps_s`` of the pictures to decode.
        convert: Function of the index and the RGB picture (H, W, 3).
    """
    import decord

    decord.logging.set_level(decord.logging.FATAL)
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        decord_stamps_s = reader.get_frame_timestamp(range(len(reader)))[:, 0]
        decord_stamps_s = decord_stamps_s[first : first + len(stamps_s)]
        if len(decord_stamps_s) != len(stamps_s) or not np.allclose(
            decord_stamps_s, stamps_s, atol=_TOLERANCE_S
        ):
            return None
        # One by one, because full-size pictures are too large to be held.
        pictures = ((i, reader.get_batch([first + i]).asnumpy()[0]) for i in sorted(wanted))
        return {index: convert(index, picture) for index, picture in pictures}
    except (decord.DECORDError, RuntimeError, IndexError):
        return None
