"""Names of files that are cut from YouTube videos: an id of 11 characters, then the times."""

import re

_NAME = re.compile(
    r"(?P<id>[\w-]{11})_(?P<start>\d+)(?:\.0+)?(?:_\d+(?:\.0+)?)?(?:\.\w+)?", re.ASCII
)


def parse(name: str) -> tuple[str, int] | None:
    """Reads id and start in seconds from ``<id>_<start>`` or ``<id>_<start>_<end>``.

    Example:
        >>> parse("-3Mwkq-7TV4_2")
        ('-3Mwkq-7TV4', 2)
    """
    match = _NAME.fullmatch(name)
    return (match["id"], int(match["start"])) if match else None


def key(video: str, start: int, end: int) -> str:
    """The official name: both times in six digits."""
    return f"{video}_{start:06d}_{end:06d}"


def names(video: str, start: int, end: int, *, bare: bool) -> tuple[str, ...]:
    """Names that copies of a clip are known to have, best first.

    Args:
        video: YouTube id.
        start: Second of the video at which the clip begins.
        end: Second of the video at which the clip ends.
        bare: Whether the id without times is a name too; not if a video has several clips.
    """
    cut = (
        key(video, start, end),
        f"{video}_{start}_{end}",
        f"{video}_{start:06d}",
        f"{video}_{start}",
        f"{video}_{start * 1000}_{end * 1000}",
        f"{video}_{start}.000",
    )
    return (*cut, video) if bare else cut
