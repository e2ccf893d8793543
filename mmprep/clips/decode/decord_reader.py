"""Decodes pictures by decord, for those who compare decoders; PyAV is more exact.

decord numbers the frames that it decodes but takes their times from the packets. If an edit list
drops frames at the beginning (phone clips, cut YouTube clips), its picture is from up to a second
later than the time it gives; for AVI with B-frames it gives no times at all. So its times are
compared with the container's, and PyAV takes over if they differ.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Larger than the rounding of time stamps, and far smaller than the length of a frame.
_TOLERANCE_S = 2e-3


def pictures(
    path: Path, stamps_s: NDArray[np.float64], first: int, wanted: Sequence[int]
) -> dict[int, NDArray[np.uint8]] | None:
    """RGB pictures by their index in ``stamps_s``, or None if decord's times are wrong.

    Args:
        path: Path of the media file.
        stamps_s: Seconds of the pictures according to the container, from number ``first`` on.
        first: Number of pictures of the file before ``stamps_s``.
        wanted: Indices in ``stamps_s`` of the pictures to decode.
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
        batch = reader.get_batch([first + index for index in wanted]).asnumpy()
    except (decord.DECORDError, RuntimeError, IndexError):
        return None
    return dict(zip(wanted, batch, strict=True))
