"""Optical flow between neighbouring pictures, by OpenCV, stored as 8-bit planes."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mmprep.clips.parts.frames import scaled_size
from mmprep.config import FlowConfig
from mmprep.failure import ClipError


class FlowMaker:
    """Computes optical flow with one object of OpenCV, whose buffers are slow to make.

    Args:
        config: Algorithm and parameters.
    """

    def __init__(self, config: FlowConfig) -> None:
        self.config = config
        self._maker: Any = (
            cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
            if config.algorithm == "dis"
            else cv2.optflow.createOptFlow_DualTVL1()
        )

    def compute_stack(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Computes the L fields between L + 1 consecutive grey pictures (H, W).

        Returns:
            The planes u1 v1 u2 v2 ... stacked downwards, (2 L H, W). Each holds the motion in
            pixels as `encode` writes it.
        """
        fields = [self._field(a, b) for a, b in pairwise(map(np.ascontiguousarray, pictures))]
        coded = [encode(field, self.config.bound) for field in fields]
        return np.concatenate([field[..., axis] for field in coded for axis in (0, 1)], axis=0)

    def _field(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        # No initial flow: a field that depended on the one before it would make the bytes of a
        # sample depend on the order of samples.
        return np.asarray(self._maker.calc(before, after, None), np.float32)


def encode(motion: NDArray[np.float32], bound: float) -> NDArray[np.uint8]:
    """Encodes motion in pixels as 8 bits: ``-bound`` is 1, 0 is 128, ``bound`` is 255."""
    scaled: NDArray[np.float32] = np.clip(motion / bound, -1, 1)
    scaled *= 127
    scaled += 128
    return np.rint(scaled, out=scaled).astype(np.uint8)


def decode(plane: NDArray[np.uint8], bound: float) -> NDArray[np.float32]:
    """Inverts `encode`, with an error of up to ``bound / 254`` pixels and the loss of JPEG."""
    return ((plane.astype(np.float32) - 128) / 127 * bound).astype(np.float32)


def shrink(
    picture: NDArray[np.uint8], short_side: int, pixel_ratio: float = 1.0
) -> NDArray[np.uint8]:
    """Resizes a grey picture (H, W) to a shorter side of ``short_side``, fast rather than exactly.

    It shrinks by a whole factor first, for which OpenCV's area rule is five times as fast, and then
    linearly to the exact size.

    Args:
        picture: Grey picture of any size.
        short_side: Pixels of the shorter side of the result, which has square pixels.
        pixel_ratio: Width of a pixel of ``picture`` divided by its height.

    Raises:
        ClipError: The cause is `too-large`: the result does not fit into a JPEG.
    """
    height, width = picture.shape
    factor = int(min(height, width * pixel_ratio)) // short_side
    if factor > 1:
        size = max(width // factor, 1), max(height // factor, 1)
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        height, width = picture.shape
    size = scaled_size(width, height, short_side, pixel_ratio)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def consecutive_indices(index: int, count: int, fields: int) -> list[int]:
    """Indices of ``fields + 1`` consecutive pictures: from ``index``, or the last ones of the clip.

    Raises:
        ClipError: The cause is `too-short`: the clip has only ``count`` pictures.
    """
    if count <= fields:
        raise ClipError("parts", "too-short", f"{count} pictures do not give {fields} flow fields")
    first = min(index, count - 1 - fields)
    return list(range(first, first + fields + 1))
