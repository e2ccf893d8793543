"""Crops and scales the pictures of a clip as they are decoded, so that none is held at full size.

Frames, differences, flow and depth all show the region of `FrameConfig.region`. It is cut out
first: motion across its border is unknown to flow, as motion across the picture's border is.
"""

from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mmprep.clips.decode.clip import Clip
from mmprep.clips.parts import flow as flows
from mmprep.clips.parts import frames as pictures
from mmprep.config import FlowConfig, FrameConfig
from mmprep.failure import ClipError

# Streams that switch between resolutions keep their shape up to rounding. A larger change would
# stretch the pictures.
_SAME_SHAPE: Final = 0.02


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """One picture at the sizes of the parts.

    Attributes:
        frame: RGB picture for frames and differences; None if they do not show it.
        grey: Grey picture for optical flow; None if no field is made from it.
    """

    frame: NDArray[np.uint8] | None
    grey: NDArray[np.uint8] | None


@dataclass
class Scaler:
    """Scales pictures of ``clip``, all to the size of the first.

    Args:
        clip: Source of the pictures.
        frames: Parameters of frames; their region is that of all parts.
        flow: Parameters of optical flow.
        for_frames: Indices of the pictures that frames and differences show.
        for_flow: Indices of the pictures between which flow is computed.
    """

    clip: Clip
    frames: FrameConfig
    flow: FlowConfig
    for_frames: set[int]
    for_flow: set[int]
    _shape: float | None = None
    _sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def scale(self, index: int, picture: NDArray[np.uint8]) -> Scaled:
        """Scales the upright RGB picture ``index`` to what the parts need of it.

        Raises:
            ClipError: The cause is `mixed-pictures` or `too-large`.
        """
        self._check_shape(picture)
        picture = pictures.crop(picture, self.frames.edges)
        frame = grey = None
        if index in self.for_frames:
            scaled = pictures.resize(picture, self.frames.short_side, self._ratio(self.frames))
            frame = self._fit("frame", scaled)
        if index in self.for_flow:
            luma = pictures.luma(picture)
            scaled = flows.shrink(luma, self.flow.short_side, self._ratio(self.flow))
            grey = self._fit("grey", scaled)
        return Scaled(frame=frame, grey=grey)

    def scale_depth(self, index: int, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Scales the depth picture ``index`` to a grey one.

        Raises:
            ClipError: The cause is `mixed-pictures` or `too-large`.
        """
        self._check_shape(picture)
        luma = pictures.luma(pictures.crop(picture, self.frames.edges))
        scaled = pictures.resize(luma, self.frames.short_side, self._ratio(self.frames))
        return self._fit("depth", scaled)

    def _ratio(self, config: FrameConfig | FlowConfig) -> float:
        return self.clip.pixel_ratio if config.square else 1.0

    def _check_shape(self, picture: NDArray[np.uint8]) -> None:
        height, width = picture.shape[:2]
        shape = width * self.clip.pixel_ratio / height
        self._shape = self._shape or shape
        if abs(shape / self._shape - 1) > _SAME_SHAPE:
            message = f"the pictures' shape changes from {self._shape:.2f} : 1 to {shape:.2f} : 1"
            raise ClipError("video", "mixed-pictures", message)

    def _fit(self, use: str, scaled: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = self._sizes.setdefault(use, scaled.shape)
        if scaled.shape == size:
            return scaled
        return np.asarray(cv2.resize(scaled, (size[1], size[0])), np.uint8)
