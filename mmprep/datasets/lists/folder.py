"""Videos in one folder for each class, with or without folders of splits above them.

Without folders of splits, a hash of its path decides a clip's split, so that files which are added
later do not change the splits of the others.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

from mmprep.datasets.lists.listed import Lists, option
from mmprep.datasets.scan import SPLIT_FOLDERS, scan
from mmprep.datasets.spec import Spec
from mmprep.errors import ConfigError, DataError
from mmprep.manifest import SPLITS, Listed, safe_key
from mmprep.splits import SHARES, pick

log = logging.getLogger(__name__)


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Lists every video in a class folder, or in a class folder below a folder of a split.

    Raises:
        ConfigError: There is no raw folder, or no video in a class folder, or shares are wrong.
    """
    if lists.files is not None:
        files = lists.files
    elif lists.raw is not None:
        files = scan(lists.raw)
    else:
        raise ConfigError(f"{spec.name} reads the raw folder itself; give --raw")
    where = str(lists.raw or "--raw")
    suffixes = set(spec.sources["video"])
    videos = [path for path in files if _suffix(path).lower() in suffixes]
    depth = 1 if _has_split_folders(videos, where) else 0
    classed = [path for path in videos if path.count("/") > depth]
    if not classed:
        raise ConfigError(
            f"{where} has no <class>/<video> or train|val|test/<class>/<video>; "
            f"put each class's videos in a folder of its name"
        )
    if strays := [path for path in videos if path.count("/") <= depth]:
        log.warning(
            "%s: %d videos in no class folder left out: %s",
            *(where, len(strays), ", ".join(strays[:3])),
        )
    beside = _sounds_by_stem(files, spec)
    splits = _given_splits(classed, spec) if depth else _drawn_splits(classed, spec)
    return [_clip(path, depth, splits[path], beside) for path in classed]


def _suffix(path: str) -> str:
    """Suffix of the file at ``path`` without its dot; empty for none."""
    stem, _, suffix = path.rpartition("/")[2].rpartition(".")
    return suffix if stem else ""


def _without_suffix(path: str) -> str:
    suffix = _suffix(path)
    return path[: -len(suffix) - 1] if suffix else path


def _has_split_folders(videos: Sequence[str], where: str) -> bool:
    """Whether the upper folders are splits. A single class may well be called ``train``.

    Raises:
        ConfigError: They are splits, but without class folders, or with others beside them.
    """
    deep = [path for path in videos if "/" in path]
    tops = {path.partition("/")[0] for path in deep}
    splits = {top for top in tops if top.lower() in SPLIT_FOLDERS}
    others = [path for path in deep if path.partition("/")[0] not in splits]
    with_classes = {path.partition("/")[0] for path in deep if path.count("/") > 1} & splits
    if splits and not others and not with_classes:
        raise ConfigError(
            f"{where}: {', '.join(sorted(splits))} are folders of splits, and hold no class "
            f"folders; put each class's videos in a folder of its name below them"
        )
    if others and len({SPLIT_FOLDERS[name.lower()] for name in with_classes}) > 1:
        raise ConfigError(
            f"{where}: {', '.join(sorted(with_classes))} are folders of splits, and {others[0]} "
            "lies beside them; move it into one of them, or out of --raw"
        )
    return bool(splits) and not others


def _drawn_splits(paths: Sequence[str], spec: Spec) -> dict[str, str]:
    shares, seed = _shares(spec), option(spec, "seed", 0.0)
    return {path: pick(path, shares, seed) for path in paths}


def _given_splits(paths: Sequence[str], spec: Spec) -> dict[str, str]:
    splits = {path: SPLIT_FOLDERS[path.partition("/")[0].lower()] for path in paths}
    if "val" in splits.values():
        return splits
    return {path: _with_val(path, split, _shares(spec), spec) for path, split in splits.items()}


def _with_val(path: str, split: str, shares: Mapping[str, float], spec: Spec) -> str:
    """Moves a part of train to val, for data with folders of splits but none for val."""
    if split != "train":
        return split
    both = {name: shares.get(name, 0.0) for name in ("train", "val")}
    return pick(path, both, option(spec, "seed", 0.0))


def _shares(spec: Spec) -> dict[str, float]:
    shares: dict[str, float] = dict(spec.lists.get("shares", SHARES))
    valid = all(isinstance(v, (int, float)) and v >= 0 for v in shares.values())
    if not shares.keys() <= set(SPLITS) or not valid or not shares.get("train"):
        raise ConfigError(f"lists.shares gives {', '.join(SPLITS)} numbers from 0; got {shares}")
    return shares


def _sounds_by_stem(paths: Sequence[str], spec: Spec) -> Mapping[str, list[str]]:
    """Sound files by their path without suffix, best suffix first."""
    suffixes = spec.sources.get("audio", ())
    sounds: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        if _suffix(path).lower() in suffixes:
            sounds[_without_suffix(path)].append(path)
    for same in sounds.values():
        same.sort(key=lambda path: (suffixes.index(path.rpartition(".")[2].lower()), path))
    return sounds


def _clip(path: str, depth: int, split: str, sounds: Mapping[str, Sequence[str]]) -> Listed:
    label = path.split("/")[depth].strip()
    if not label:
        raise DataError(f"{path}: the class folder's name is blank; give it a name")
    # Whole paths, because only a sound beside the video is its own.
    beside = tuple(sounds.get(_without_suffix(path), ()))
    names = {"video": (path,), "audio": beside}
    return Listed(key=safe_key(path), label=label, split=split, names=names)
