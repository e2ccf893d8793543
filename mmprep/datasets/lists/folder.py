"""Videos in one folder for each class, with or without folders of splits above them.

Without folders of splits, a hash of its path decides a clip's split, so that files which are added
later do not change the splits of the others.
"""

import logging
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from mmprep.datasets.lists.listed import Lists, option
from mmprep.datasets.lists.splits import pick
from mmprep.datasets.scan import SPLIT_FOLDERS, scan
from mmprep.datasets.spec import Spec
from mmprep.errors import ConfigError, DataError
from mmprep.manifest import SPLITS, Listed, safe_key

log = logging.getLogger(__name__)

_SHARES: Final = {"train": 0.8, "val": 0.1, "test": 0.1}


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
    where = lists.raw or "--raw"
    suffixes = set(spec.sources["video"])
    paths = [PurePosixPath(file) for file in files]
    videos = [path for path in paths if path.suffix[1:].lower() in suffixes]
    deep = [path for path in videos if len(path.parts) > 1]
    if len(deep) < len(videos):
        log.warning("%s: %d videos in no class folder left out", where, len(videos) - len(deep))
    if not deep:
        raise ConfigError(
            f"{where} has no <class>/<video> or train|val|test/<class>/<video>; "
            f"put each class's videos in a folder of its name"
        )
    split_folders = all(p.parts[0].lower() in SPLIT_FOLDERS and len(p.parts) > 2 for p in deep)
    shares = _shares(spec)
    if not split_folders:
        clips = [(path, 0, pick(str(path), shares, option(spec, "seed", 0.0))) for path in deep]
        return [_clip(*clip) for clip in clips]
    given = [(path, 1, SPLIT_FOLDERS[path.parts[0].lower()]) for path in deep]
    if "val" not in {split for *_, split in given}:
        given = [(p, n, _with_val(p, split, shares, spec)) for p, n, split in given]
    return [_clip(*clip) for clip in given]


def _with_val(path: PurePosixPath, split: str, shares: Mapping[str, float], spec: Spec) -> str:
    """Moves a part of train to val, for data with folders of splits but none for val."""
    if split != "train":
        return split
    both = {name: shares.get(name, 0.0) for name in ("train", "val")}
    return pick(str(path), both, option(spec, "seed", 0.0))


def _shares(spec: Spec) -> dict[str, float]:
    shares: dict[str, float] = dict(spec.lists.get("shares", _SHARES))
    valid = all(isinstance(v, (int, float)) and v >= 0 for v in shares.values())
    if not shares.keys() <= set(SPLITS) or not valid or not shares.get("train"):
        raise ConfigError(f"lists.shares gives {', '.join(SPLITS)} numbers from 0; got {shares}")
    return shares


def _clip(path: PurePosixPath, depth: int, split: str) -> Listed:
    label = path.parts[depth].strip()
    if not label:
        raise DataError(f"{path}: the class folder's name is blank; give it a name")
    names = {"video": (str(path),), "audio": (str(path.with_suffix("")),)}
    return Listed(key=safe_key(str(path)), label=label, split=split, names=names)
