"""Pictures by decord, for those who compare decoders; PyAV does it better.

decord numbers the frames that it decodes but takes their times from the packets. Where an edit
list drops frames at the beginning (phone clips, cut YouTube clips) it shows a picture from up to a
second later than the time that it gives; in AVI with B-frames it gives no times at all. So its
times are compared with the container's, and where they differ PyAV takes over.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_TOLERANCE_S = 2e-3


def pictures(
    path: Path, stamps_s: NDArray[np.float64], first: int, wanted: Sequence[int]
) -> dict[int, NDArray[np.uint8]] | None:
    """RGB pictures by their index in ``stamps_s``, or None where decord cannot be trusted.

    Args:
        path: The file.
        stamps_s: Time stamps that the container gives, from ``first`` on.
        first: Number of pictures of the file before ``stamps_s``.
        wanted: Indices in ``stamps_s``.
    """
    import decord

    decord.logging.set_level(decord.logging.FATAL)
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        own = reader.get_frame_timestamp(range(len(reader)))[:, 0]
        own = own[first : first + len(stamps_s)]
        if len(own) != len(stamps_s) or not np.allclose(own, stamps_s, atol=_TOLERANCE_S):
            return None
        batch = reader.get_batch([first + index for index in wanted]).asnumpy()
    except (decord.DECORDError, RuntimeError, IndexError):
        return None
    return dict(zip(wanted, batch, strict=True))
