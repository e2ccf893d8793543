"""Sources to arrays: one open of a file gives its frame times, its pictures and its sound."""

from mmprep.decode.clip import Clip
from mmprep.decode.sniff import sniff

__all__ = ["Clip", "sniff"]
