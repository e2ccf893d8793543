"""Official lists of clips, one reader a kind of list; a data set's TOML file says which.

A new data set whose lists are of a kind below needs a TOML file in `manifests/` and no code.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from mmprep.datasets.lists import (
    class_lists,
    clip_csv,
    digits,
    events,
    folder,
    grammar,
    kinetics,
    ready,
    streams,
)
from mmprep.datasets.lists.listed import Lists, option
from mmprep.datasets.lists.splits import carve
from mmprep.datasets.spec import Spec
from mmprep.errors import ConfigError, DataError, UnknownName
from mmprep.manifest import SPLITS, Listed, safe_key

__all__ = ["READERS", "Listed", "Lists", "read"]

log = logging.getLogger(__name__)

READERS: Final[Mapping[str, Callable[[Lists, Spec], list[Listed]]]] = {
    "class-lists": class_lists.read,
    "clip-csv": clip_csv.read,
    "csv": ready.read,
    "digits": digits.read,
    "events": events.read,
    "folder": folder.read,
    "grammar": grammar.read,
    "kinetics": kinetics.read,
    "streams": streams.read,
}


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Every clip that the lists of ``spec`` name, with a validation split.

    Where the lists have none, ``lists.val_share`` of train becomes ``val`` (see
    `mmprep.datasets.lists.splits.carve`); a share of 0 keeps train whole.

    Raises:
        UnknownName: The TOML file names no reader of ours.
        ConfigError: A list is missing; the message says where it comes from and where it goes.
        DataError: A list is malformed, names a clip twice or a class that the data set has not.
    """
    if spec.reader not in READERS:
        raise UnknownName("reader of lists", spec.reader, READERS)
    listed = _checked(READERS[spec.reader](lists, spec), spec)
    _compare(listed, spec)
    share = option(spec, "val_share", 0.0)
    if not 0 <= share < 1:
        raise ConfigError(
            f"{spec.name}: lists.val_share is a share of train, in [0, 1); got {share}"
        )
    if share and {clip.split for clip in listed} in ({"train"}, {"train", "test"}):
        group = option(spec, "val_group", "") or None
        if group and not all(group in clip.extra for clip in listed):
            raise ConfigError(
                f"{spec.name}: lists.val_group {group!r} is nothing that its lists give"
            )
        listed = carve(listed, share, option(spec, "seed", 0.0), group)
        log.info("%s: the lists have no val; %s", spec.name, _counts(listed))
    return listed


def _checked(listed: Sequence[Listed], spec: Spec) -> list[Listed]:
    seen: dict[str, Listed] = {}
    classes = set(spec.classes)
    for clip in listed:
        if clip.key != safe_key(clip.key):
            raise DataError(f"{spec.name}: {clip.key!r} is no key; its reader must make one")
        if clip.split not in SPLITS:
            raise DataError(
                f"{spec.name}: {clip.key}: {clip.split!r} is none of {', '.join(SPLITS)}"
            )
        if classes and clip.label not in classes:
            raise DataError(
                f"{spec.name}: {clip.key}: {clip.label!r} is none of its {len(classes)} classes; "
                f"is this the list of another data set?"
            )
        if seen.setdefault(clip.key, clip) != clip:
            other = seen[clip.key]
            raise DataError(
                f"{spec.name}: the lists name {clip.key} twice: as {other.label} in {other.split}, "
                f"as {clip.label} in {clip.split}; keep one of the lines"
            )
    if len(seen) < len(listed):
        log.warning("%s: %d repeated lines left out", spec.name, len(listed) - len(seen))
    return list(seen.values())


def _compare(listed: Sequence[Listed], spec: Spec) -> None:
    found = Counter(clip.split for clip in listed)
    if spec.expected and found != spec.expected:
        official = ", ".join(f"{n} {split}" for split, n in spec.expected.items())
        log.warning("%s: the lists name %s; official: %s", spec.name, _counts(listed), official)
    if empty := set(spec.classes) - {clip.label for clip in listed}:
        log.warning(
            "%s: no clip of %d classes: %s", spec.name, len(empty), ", ".join(sorted(empty))
        )


def _counts(listed: Sequence[Listed]) -> str:
    found = Counter(clip.split for clip in listed)
    return ", ".join(f"{found[split]} {split}" for split in SPLITS if found[split]) or "nothing"
