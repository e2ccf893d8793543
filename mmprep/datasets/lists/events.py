"""Lists of events, ``Category&VideoID&Quality&StartTime&EndTime`` (AVE).

A video may have several rows with different categories, so the key contains the class as well. By
default a clip is the whole file, with the times of the event in ``extra``; ``lists.event`` cuts the
event out.

``lists.segments`` gives a clip a target: the class of each second from the beginning, which is
``background`` outside of the event. Where a video has two rows, their seconds are the same (in all
45 such videos of AVE), so that each row stays a clip with the label of its own event.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from mmprep.datasets.lists.listed import Lists, files, option
from mmprep.datasets.lists.text import line_error, lines
from mmprep.datasets.spec import Spec
from mmprep.errors import DataError
from mmprep.manifest import SPLITS, Listed, safe_key

log = logging.getLogger(__name__)

# Class of the seconds without an event.
BACKGROUND: Final = "background"


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Reads the events of each split; ``extra`` names the other splits that have the same video.

    Raises:
        ConfigError: A list is missing.
        DataError: A malformed line.
    """
    clips = [
        clip
        for split in SPLITS
        for clip in _clips(lists.need(files(spec, split), spec), split, spec)
    ]
    splits: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        splits[clip.extra["video_id"]].add(clip.split)
    leaks = {video: several for video, several in splits.items() if len(several) > 1}
    if not leaks:
        return clips
    drop = option(spec, "drop_leaks", False)
    log.warning(
        "%s: %d videos are in several splits of the official lists; %s",
        *(spec.name, len(leaks)),
        "their train rows are left out" if drop else "variant no-leak leaves their train rows out",
    )
    marked = [
        replace(clip, extra={**clip.extra, "also_in": ",".join(sorted(others))})
        if (others := leaks.get(clip.extra["video_id"], set()) - {clip.split})
        else clip
        for clip in clips
    ]
    return [
        clip for clip in marked if not (drop and clip.split == "train" and "also_in" in clip.extra)
    ]


def _clips(path: Path, split: str, spec: Spec) -> Iterator[Listed]:
    for nth, (line, text) in enumerate(lines(path)):
        fields = [field.strip() for field in text.split("&")]
        if nth == 0 and fields[0].lower() == "category":
            continue
        if len(fields) != 5:
            raise line_error(
                path, line, text, "expected Category&VideoID&Quality&StartTime&EndTime"
            )
        label, video, quality, *times = fields
        if label not in spec.classes:
            raise DataError(f"{path}, line {line}: {label!r} is no class of {spec.name}")
        try:
            start, end = map(float, times)
        except ValueError as error:
            raise line_error(path, line, text, "times are seconds") from error
        # One official row has 0 to 0: no event to cut out, so the clip stays whole.
        cut = option(spec, "event", False) and start < end
        yield Listed(
            key=safe_key(f"{video}_{start:g}_{end:g}_{spec.classes.index(label):02d}"),
            label=label,
            split=split,
            names={"video": (video,)},
            start=start if cut else None,
            end=end if cut else None,
            extra={
                "video_id": video,
                "event_start_s": f"{start:g}",
                "event_end_s": f"{end:g}",
                "quality": quality,
            },
            target=_segments(label, start, end, spec),
        )


def _segments(label: str, start: float, end: float, spec: Spec) -> tuple[float, ...]:
    """Class id of each second of the clip; empty if the data set asks for none."""
    count = int(option(spec, "segments", 0.0))
    if not count:
        return ()
    event, background = spec.classes.index(label), spec.classes.index(BACKGROUND)
    return tuple(float(event if start <= second < end else background) for second in range(count))
