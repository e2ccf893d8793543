"""Span of a clip within its file, where the file may be the whole video instead of the clip."""

from typing import Final

from mmprep.clips.decode.clip import Clip
from mmprep.failure import ClipError

# Seconds by which a file may exceed the clip, because cuts fall on key pictures and packets.
_TOLERANCE_S: Final = 1.0


def is_whole_video(clip: Clip, listed: tuple[float, float]) -> bool:
    """Whether the file of ``clip``, opened from its start, is longer than the listed clip."""
    length = clip.source_duration_s or clip.duration_s
    return length > listed[1] - listed[0] + _TOLERANCE_S


def check_listed_times(clip: Clip, listed: tuple[float, float]) -> None:
    """Raises `ClipError` with the cause ``ends-early`` if the video ends before ``listed``."""
    start, end = listed
    if clip.source_duration_s and clip.source_duration_s < end - _TOLERANCE_S:
        raise ClipError(
            "open",
            "ends-early",
            f"a whole video of {clip.source_duration_s:.2f} s; its clip is listed at {start:g} to "
            f"{end:g} s",
        )
