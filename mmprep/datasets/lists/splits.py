"""Splits that the official lists do not give, drawn from hashes: no state, the same everywhere."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mmprep.manifest import Listed


def draw(name: str, seed: float) -> float:
    """A number in [0, 1) that depends on ``name`` and ``seed`` alone."""
    digest = hashlib.sha256(f"{seed:g}:{name}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def pick(name: str, shares: Mapping[str, float], seed: float) -> str:
    """The split of ``name``; does not depend on what other names there are.

    Example:
        >>> pick("cat/a.mp4", {"train": 0.8, "val": 0.1, "test": 0.1}, seed=0)
        'train'
    """
    place = draw(name, seed) * sum(shares.values())
    for split, share in shares.items():
        place -= share
        if place < 0:
            return split
    return next(split for split in shares if shares[split])  # Rounding alone leads here.


def carve(
    listed: Sequence[Listed], share: float, seed: float, group: str | None = None
) -> list[Listed]:
    """Moves about ``share`` of the train clips to ``val``, class by class.

    Within a class, groups go over whole in the order of their hashes, until another group would
    overshoot by more than half of it. What is on disk plays no part, so neither do missing files.

    Args:
        listed: Clips of the official lists; those that are not in train stay as they are.
        share: Of each class's train clips, in [0, 1).
        seed: Of the draw.
        group: Entry of ``extra`` whose clips belong together (a subject, a source video); a group
            counts for the class of its first clip. Without one, each clip is its own group.
    """
    groups: dict[str, list[Listed]] = defaultdict(list)
    for clip in sorted(listed, key=lambda clip: clip.key):
        if clip.split == "train":
            groups[clip.extra[group] if group else clip.key].append(clip)
    by_label: dict[str, list[str]] = defaultdict(list)
    for name, clips in groups.items():
        by_label[clips[0].label].append(name)
    chosen: set[str] = set()
    for names in by_label.values():
        wanted = share * sum(len(groups[name]) for name in names)
        taken = 0
        for name in sorted(names, key=lambda name: draw(name, seed)):
            if taken + len(groups[name]) / 2 > wanted:
                break
            taken += len(groups[name])
            chosen.update(clip.key for clip in groups[name])
    return [replace(clip, split="val") if clip.key in chosen else clip for clip in listed]


def by_group(
    listed: Sequence[Listed], shares: Mapping[str, float], seed: float, group: str
) -> list[Listed]:
    """Splits by groups: each goes over whole, and every split gets its share of the groups."""
    names = sorted({clip.extra[group] for clip in listed}, key=lambda name: draw(name, seed))
    split_of: dict[str, str] = {}
    done = 0.0
    for split, share in shares.items():
        first, done = done, done + share / sum(shares.values())
        for name in names[round(first * len(names)) : round(done * len(names))]:
            split_of[name] = split
    return [replace(clip, split=split_of[clip.extra[group]]) for clip in listed]
