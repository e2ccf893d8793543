"""Raw videos to WebDataset shards: frames, spectrograms and optical flow, made once."""

__version__ = "0.1.0"
