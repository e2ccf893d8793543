"""One sample in one picture: its frames, spectrogram and flow, and the results of its checks."""

from mmprep.inspection.picture.picture import draw

__all__ = ["draw"]
