"""Splits that official lists lack, drawn by hashes of names, so that they are always the same."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mmprep.manifest import Listed
from mmprep.splits import hash_share, pick

__all__ = ["hash_share", "pick", "split_by_group", "split_off_val"]


def split_off_val(
    listed: Sequence[Listed], share: float, seed: float, group: str | None = None
) -> list[Listed]:
    """Moves about ``share`` of the train clips to ``val``, class by class.

    Within a class, whole groups are moved in the order of their hashes, until another group would
    exceed the share by more than half of the group. The result does not depend on which files are
    on disk.

    Args:
        listed: Clips of the official lists; those outside of train stay as they are.
        share: Share of each class's train clips that is moved, in [0, 1).
        seed: Seed of the hashes.
        group: Entry of ``extra`` by which clips belong together (a subject, a source video); a
            group counts for the class of its first clip. None makes each clip its own group.
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
        for name in sorted(names, key=lambda name: hash_share(name, seed)):
            if taken + len(groups[name]) / 2 > wanted:
                break
            taken += len(groups[name])
            chosen.update(clip.key for clip in groups[name])
    return [replace(clip, split="val") if clip.key in chosen else clip for clip in listed]


def split_by_group(
    listed: Sequence[Listed], shares: Mapping[str, float], seed: float, group: str
) -> list[Listed]:
    """Assigns whole groups to splits, so that every split gets its share of the groups."""
    names = sorted({clip.extra[group] for clip in listed}, key=lambda name: hash_share(name, seed))
    split_of: dict[str, str] = {}
    done = 0.0
    for split, share in shares.items():
        first, done = done, done + share / sum(shares.values())
        for name in names[round(first * len(names)) : round(done * len(names))]:
            split_of[name] = split
    return [replace(clip, split=split_of[clip.extra[group]]) for clip in listed]
