"""How files cut from YouTube videos are called: an id of 11 characters, then where the cut lies."""

import re

_NAME = re.compile(r"(?P<id>[\w-]{11})_(?P<start>\d+)(?:_\d+)?(?:\.\w+)?", re.ASCII)


def parse(name: str) -> tuple[str, int] | None:
    """Id and start in seconds of ``<id>_<start>`` or ``<id>_<start>_<end>``, padded or not.

    Example:
        >>> parse("-3Mwkq-7TV4_2")
        ('-3Mwkq-7TV4', 2)
    """
    found = _NAME.fullmatch(name)
    return (found["id"], int(found["start"])) if found else None


def key(video: str, start: int, end: int) -> str:
    """The official name: both times in six digits."""
    return f"{video}_{start:06d}_{end:06d}"


def names(video: str, start: int, end: int, *, bare: bool) -> tuple[str, ...]:
    """Names under which copies of a clip are known to lie, best first.

    Args:
        video: YouTube id.
        start: Second of the video at which the clip begins.
        end: Second at which it ends.
        bare: Whether the id alone will do; not where a video gives several clips.
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
