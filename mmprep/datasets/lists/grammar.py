"""Lists whose file names say everything: actor, sentence, emotion, level (CREMA-D).

A line names one clip somewhere in its fields, which commas or blanks part; a second field may
repeat the label. So one reader takes ``1001_IEO_NEU_XX,NEU``, ``1001_IEO_NEU_XX.flv Neutral`` and
``1,"1001_IEO_NEU_XX"``, each with or without a header line.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mmprep.datasets.lists.listed import Lists, files, option
from mmprep.datasets.lists.splits import by_group
from mmprep.datasets.lists.text import fault, lines, table
from mmprep.datasets.spec import Spec
from mmprep.errors import ConfigError
from mmprep.manifest import SPLITS, Listed


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Clips of the lists by split; with ``lists.files.all``, of one list, split by group.

    Raises:
        ConfigError: A list is missing, or ``lists.pattern`` has no ``label``.
        DataError: A line names no clip, or another label than the clip's name.
    """
    pattern = re.compile(option(spec, "pattern", ""))
    if "label" not in pattern.groupindex:
        raise ConfigError(f"{spec.name}: lists.pattern needs a group (?P<label>...)")
    if whole := files(spec, "all"):
        group = option(spec, "group", "")
        if group not in pattern.groupindex:
            raise ConfigError(f"{spec.name}: lists.group {group!r} is no group of lists.pattern")
        clips = list(_clips(lists.need(whole, spec), "train", pattern, spec))
        shares = spec.lists.get("shares", {"train": 0.8, "val": 0.1, "test": 0.1})
        return by_group(clips, shares, option(spec, "seed", 0.0), group)
    given = [split for split in SPLITS if files(spec, split)]
    return [
        clip
        for split in given
        for clip in _clips(lists.need(files(spec, split), spec), split, pattern, spec)
    ]


def _clips(path: Path, split: str, pattern: re.Pattern[str], spec: Spec) -> Iterator[Listed]:
    words = option(spec, "words", {})
    rows = table(path) if path.suffix == ".csv" else ((n, text.split()) for n, text in lines(path))
    for nth, (line, row) in enumerate(rows):
        places = [i for i, cell in enumerate(row) if pattern.fullmatch(_stem(cell))]
        if not places and nth == 0:
            continue  # A header.
        if not places:
            raise fault(path, line, ",".join(row), "names no clip")
        stem = _stem(row[places[0]])
        parts = _groups(pattern, stem)
        label = parts.pop("label")
        for said in row[places[0] + 1 :]:
            if words.get(said, said) in {*spec.classes} - {label}:
                raise fault(path, line, ",".join(row), f"the clip's name says {label}")
        names = dict.fromkeys(spec.sources, (stem,))
        yield Listed(key=stem, label=label, split=split, names=names, extra=parts)


def _groups(pattern: re.Pattern[str], stem: str) -> dict[str, str]:
    found = pattern.fullmatch(stem)
    return dict(found.groupdict()) if found else {}


def _stem(cell: str) -> str:
    return cell.rsplit("/", 1)[-1].partition(".")[0]
