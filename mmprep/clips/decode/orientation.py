"""Turns and mirrors decoded pictures upright, as the display matrix of their stream asks for."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """One of the eight ways in which a stored picture can be shown.

    Attributes:
        transposed: Whether rows and columns are swapped first.
        flips_x: Whether left and right are swapped then.
        flips_y: Whether top and bottom are swapped then.
    """

    transposed: bool = False
    flips_x: bool = False
    flips_y: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> Self:
        """Orientation of ``frame``; a matrix between two of the eight counts as the nearer one."""
        # Not `frame.side_data`: it ties frame and data in a circle, and a 4K frame that waits for
        # the garbage collector holds 12 MB.
        container: Any = SideDataContainer  # PyAV's stub lacks its argument
        data = container(frame).get(Type.DISPLAYMATRIX)
        if data is None:
            return cls()
        # A point (x, y) is shown at (a x + c y, b x + d y); the third column holds other units.
        (a, b, _), (c, d, _), _ = np.frombuffer(bytes(data), np.int32).reshape(3, 3).tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(flips_x=a < 0, flips_y=d < 0)
        return cls(transposed=True, flips_x=c < 0, flips_y=b < 0)

    @property
    def mirrored(self) -> bool:
        """Whether no rotation alone leads to it."""
        return self.transposed ^ self.flips_x ^ self.flips_y

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """View of ``picture`` (H, W, 3) as it is shown."""
        if self.transposed:
            picture = picture.transpose(1, 0, 2)
        return picture[:: -1 if self.flips_y else 1, :: -1 if self.flips_x else 1]

    def pixel_ratio(self, stored: float) -> float:
        """Width of a shown pixel divided by its height, from that of a ``stored`` one."""
        return 1 / stored if self.transposed else stored
