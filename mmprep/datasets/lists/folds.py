"""Scores of segments with times in a computational sequence, and folds of videos (CMU-MOSI).

A ``.csd`` has for each video a score for every segment, with the seconds at which it begins and
ends. A segment is cut out of the video's features by those. Which fold a video is in stands in the
SDK's ``cmu_mosi_std_folds.py``, whose lists are read and not executed, or in a file of ids a split.
"""

import ast
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from mmprep.clips.decode.csd import CsdFile
from mmprep.datasets.lists.arrays import score_label
from mmprep.datasets.lists.listed import Lists, files, option
from mmprep.datasets.lists.text import lines
from mmprep.datasets.spec import Spec
from mmprep.errors import DataError
from mmprep.format.damage import naming_damage
from mmprep.manifest import Listed, safe_key

log = logging.getLogger(__name__)

_FOLDS: Final = {
    "standard_train_fold": "train",
    "standard_valid_fold": "val",
    "standard_test_fold": "test",
}


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Reads the segments of all videos that a fold names.

    Raises:
        ConfigError: The scores or the folds are missing.
        DataError: One of them is malformed.
    """
    split_of = _splits(lists, spec)
    # Scores lie beside the features; --annotations may have the folds alone.
    place = Lists(None, lists.raw) if lists.raw else lists
    path = place.need(files(spec, "scores"), spec)
    with naming_damage(str(path), fault="no scores of segments"):
        clips = list(_clips(path, split_of, spec))
    if absent := split_of.keys() - {clip.extra["video_id"] for clip in clips}:
        log.warning(
            "%s: %d videos of the folds have no scores: %s",
            *(path, len(absent), ", ".join(sorted(absent)[:3])),
        )
    return clips


def _clips(path: Path, split_of: Mapping[str, str], spec: Spec) -> Iterator[Listed]:
    sequences = option(spec, "sequences", {})
    scores = CsdFile(path)
    for video in sorted(split_of.keys() & set(scores.names())):
        values = scores.read(video, None).reshape(-1)
        times = scores.intervals(video)
        if len(values) != len(times):
            raise ValueError(f"{video} has {len(values)} scores for {len(times)} segments")
        for segment, (score, (start, end)) in enumerate(zip(values, times, strict=True)):
            yield Listed(
                key=safe_key(f"{video}_{segment}"),
                label=score_label(float(score), spec),
                split=split_of[video],
                names={kind: (f"{stem}#{video}",) for kind, stem in sequences.items()},
                start=float(start),
                end=float(end),
                extra={"video_id": video},
                target=(float(score),),
            )


def _splits(lists: Lists, spec: Spec) -> dict[str, str]:
    """Split of each video."""
    if path := lists.get(files(spec, "folds")):
        return _splits_in_code(path)
    first = [*files(spec, "folds"), *files(spec, "train")]
    return {
        video: split
        for split in _FOLDS.values()
        for _, video in lines(lists.get(files(spec, split)) or lists.need(first, spec))
    }


def _splits_in_code(path: Path) -> dict[str, str]:
    """Splits of videos by the lists that a Python file assigns; nothing of it is executed."""
    split_of: dict[str, str] = {}
    found: set[str] = set()
    try:
        for line in ast.parse(path.read_text("utf-8")).body:
            if not isinstance(line, ast.Assign):
                continue
            for place in line.targets:
                if isinstance(place, ast.Name) and place.id in _FOLDS:
                    split = _FOLDS[place.id]
                    found.add(split)
                    split_of |= {str(video): split for video in ast.literal_eval(line.value)}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise DataError(f"{path}: {error}; get the file again") from error
    if found != set(_FOLDS.values()):
        raise DataError(f"{path}: no {', '.join(_FOLDS)}; get the file again")
    return split_of
