"""CSV of ``id,start,label,split`` or ``<id>_<start>.mp4,label`` (VGGSound)."""

import logging
from collections.abc import Iterator
from pathlib import Path

from mmprep.datasets.lists.listed import Lists, files
from mmprep.datasets.lists.text import is_header, line_error, table, whole_seconds
from mmprep.datasets.lists.youtube import key, names, parse
from mmprep.datasets.spec import Spec
from mmprep.manifest import SPLITS, Listed

log = logging.getLogger(__name__)

_CLIP_S = 10  # Length of every clip of VGGSound, whose lists give starts only.


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Reads the clips of the file with all splits or, without one, of a file for each split.

    Raises:
        ConfigError: There is neither the file with all splits nor one of train clips.
        DataError: A malformed line.
    """
    if path := lists.get(files(spec, "all")):
        return list(_all_splits(path))
    paths = {split: lists.get(files(spec, split)) for split in SPLITS if files(spec, split)}
    if not any(paths.values()):
        lists.need([*files(spec, "all"), *files(spec, "train")], spec)
    for split, path in paths.items():
        if path is None:
            wanted = " or ".join((*files(spec, "all")[:1], *files(spec, split)[:1]))
            log.warning("%s: no %s clips, because there is no list %s", spec.name, split, wanted)
    return [clip for split, path in paths.items() if path for clip in _one_split(path, split)]


def _all_splits(path: Path) -> Iterator[Listed]:
    for nth, (line, row) in enumerate(table(path)):
        if nth == 0 and is_header(row) and row[-1].lower() not in SPLITS:
            continue
        start = whole_seconds(row[1]) if len(row) == 4 else None
        if start is None or row[3].lower() not in SPLITS:
            raise line_error(path, line, ",".join(row), "expected id,start,label,train or test")
        yield _clip(row[0], start, row[2], row[3].lower())


def _one_split(path: Path, split: str) -> Iterator[Listed]:
    for nth, (line, row) in enumerate(table(path)):
        if nth == 0 and is_header(row):
            continue
        place = parse(row[0])
        if not place or len(row) != 2:
            raise line_error(path, line, ",".join(row), "expected <id>_<start>.mp4,label")
        yield _clip(*place, row[1], split)


def _clip(video: str, start: int, label: str, split: str) -> Listed:
    end = start + _CLIP_S
    return Listed(
        key=key(video, start, end),
        label=label,
        split=split,
        names={"video": names(video, start, end, bare=False)},
        extra={"youtube_id": video, "youtube_start_s": str(start)},
    )
