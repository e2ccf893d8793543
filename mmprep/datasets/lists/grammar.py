"""Lists whose file names hold all facts: actor, sentence, emotion, level (CREMA-D).

A line names one clip in one of its fields, which are separated by commas or blanks; a further
field may repeat the label. So one reader takes ``1001_IEO_NEU_XX,NEU``,
``1001_IEO_NEU_XX.flv Neutral`` and ``1,"1001_IEO_NEU_XX"``, each with or without a header line.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mmprep.datasets.lists.listed import Lists, files, option
from mmprep.datasets.lists.splits import split_by_group
from mmprep.datasets.lists.text import line_error, lines, table
from mmprep.datasets.spec import Spec
from mmprep.errors import ConfigError
from mmprep.manifest import SPLITS, Listed


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Reads the clips of one list for each split, or of ``lists.files.all``, split by group.

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
        return split_by_group(clips, shares, option(spec, "seed", 0.0), group)
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
            continue  # The header.
        if not places:
            raise line_error(path, line, ",".join(row), "names no clip")
        stem = _stem(row[places[0]])
        parts = _groups(pattern, stem)
        label = parts.pop("label")
        for word in row[places[0] + 1 :]:
            if words.get(word, word) in {*spec.classes} - {label}:
                raise line_error(path, line, ",".join(row), f"by its name the clip is {label}")
        names = dict.fromkeys(spec.sources, (stem,))
        yield Listed(key=stem, label=label, split=split, names=names, extra=parts)


def _groups(pattern: re.Pattern[str], stem: str) -> dict[str, str]:
    match = pattern.fullmatch(stem)
    return dict(match.groupdict()) if match else {}


def _stem(cell: str) -> str:
    return cell.rsplit("/", 1)[-1].partition(".")[0]
