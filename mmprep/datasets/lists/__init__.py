"""Readers of official lists of clips, one for each kind of list.

The TOML file of a data set names its reader, so a new data set whose lists are of a kind below
needs such a file and no code.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from mmprep.datasets.lists import (
    arrays,
    aspects,
    class_lists,
    clip_csv,
    digits,
    events,
    folder,
    folds,
    grammar,
    grid,
    kinetics,
    literals,
    questions,
    ready,
    streams,
    tags,
    turns,
)
from mmprep.datasets.lists.listed import Lists, option
from mmprep.datasets.lists.splits import split_off_val
from mmprep.datasets.spec import Spec
from mmprep.errors import ConfigError, DataError, UnknownName
from mmprep.manifest import SPLITS, Listed, safe_key

__all__ = ["READERS", "Listed", "Lists", "read"]

log = logging.getLogger(__name__)

READERS: Final[Mapping[str, Callable[[Lists, Spec], list[Listed]]]] = {
    "arrays": arrays.read,
    "aspects": aspects.read,
    "class-lists": class_lists.read,
    "clip-csv": clip_csv.read,
    "csv": ready.read,
    "digits": digits.read,
    "events": events.read,
    "folder": folder.read,
    "folds": folds.read,
    "grammar": grammar.read,
    "grid": grid.read,
    "kinetics": kinetics.read,
    "literals": literals.read,
    "questions": questions.read,
    "streams": streams.read,
    "tags": tags.read,
    "turns": turns.read,
}


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Reads all clips in the lists of ``spec``, with a validation split.

    If the lists have none, ``lists.val_share`` of train becomes ``val`` (see
    `mmprep.datasets.lists.splits.split_off_val`); a share of 0 leaves train whole.

    Raises:
        UnknownName: The TOML file names an unknown reader.
        ConfigError: A list is missing; the message says where it comes from and where it goes.
        DataError: A list is malformed, names a clip twice or a class that the data set has not.
    """
    if spec.reader not in READERS:
        raise UnknownName("reader of lists", spec.reader, READERS)
    listed = _check(READERS[spec.reader](lists, spec), spec)
    _warn_of_differences(listed, spec)
    share = option(spec, "val_share", 0.0)
    if not 0 <= share < 1:
        raise ConfigError(
            f"{spec.name}: lists.val_share is a share of train, in [0, 1); got {share}"
        )
    if share and {clip.split for clip in listed} in ({"train"}, {"train", "test"}):
        group = option(spec, "val_group", "") or None
        if group and not all(group in clip.extra for clip in listed):
            raise ConfigError(f"{spec.name}: lists.val_group {group!r} is not in its lists")
        listed = split_off_val(listed, share, option(spec, "seed", 0.0), group)
        log.info("%s: the lists have no val; %s", spec.name, _counts(listed))
    return listed


def _check(listed: Sequence[Listed], spec: Spec) -> list[Listed]:
    by_key: dict[str, Listed] = {}
    classes = set(spec.classes)
    for clip in listed:
        if clip.key != safe_key(clip.key):
            raise DataError(f"{spec.name}: {clip.key!r} is no key; its reader must make one")
        if clip.split not in SPLITS:
            raise DataError(
                f"{spec.name}: {clip.key}: {clip.split!r} is none of {', '.join(SPLITS)}"
            )
        labels = {question.label for question in clip.questions} or {clip.label}
        if classes and (strangers := labels - classes):
            raise DataError(
                f"{spec.name}: {clip.key}: {min(strangers)!r} is none of its {len(classes)} "
                f"classes; is this the list of another data set?"
            )
        if by_key.setdefault(clip.key, clip) != clip:
            other = by_key[clip.key]
            raise DataError(
                f"{spec.name}: the lists name {clip.key} twice: as {other.label} in {other.split}, "
                f"as {clip.label} in {clip.split}; keep one of the lines"
            )
    if len(by_key) < len(listed):
        log.warning("%s: %d repeated lines are ignored", spec.name, len(listed) - len(by_key))
    return list(by_key.values())


def _warn_of_differences(listed: Sequence[Listed], spec: Spec) -> None:
    if spec.expected and _count(listed) != spec.expected:
        official = ", ".join(f"{n} {split}" for split, n in spec.expected.items())
        log.warning("%s: the lists name %s; official: %s", spec.name, _counts(listed), official)
    labels = {clip.label for clip in listed}
    labels |= {question.label for clip in listed for question in clip.questions}
    if option(spec, "segments", 0.0):
        labels.add(events.BACKGROUND)
    if empty := set(spec.classes) - labels:
        log.warning(
            "%s: no clip of %d classes: %s", spec.name, len(empty), ", ".join(sorted(empty))
        )


def _counts(listed: Sequence[Listed]) -> str:
    counts = _count(listed)
    return ", ".join(f"{counts[split]} {split}" for split in SPLITS if counts[split]) or "nothing"


def _count(listed: Sequence[Listed]) -> Counter[str]:
    """Clips of each split; a clip with questions counts as often as it has any."""
    counts = Counter[str]()
    for clip in listed:
        counts[clip.split] += len(clip.questions) or 1
    return counts
