"""One sample in one picture: its frames, spectrogram and flow, and what was noticed about it."""

from mmprep.inspection.picture.picture import draw

__all__ = ["draw"]
