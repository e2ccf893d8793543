"""Kinetics: CSV files with a header, and lists of the ids that a subset of the classes uses.

An id list is exact, so it takes precedence over the CSV files for all of its classes
(``lists.ids``). Clips are matched by YouTube id and whole second of the start, never by name: the
lists of one data set write ``<id>_000058_000068`` for train and ``<id>_2`` for test.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mmprep.datasets.lists.listed import Lists, files, option
from mmprep.datasets.lists.text import line_error, table, whole_seconds
from mmprep.datasets.lists.youtube import key, names, parse
from mmprep.datasets.spec import Spec
from mmprep.errors import DataError
from mmprep.manifest import SPLITS, Listed

log = logging.getLogger(__name__)

_SUBSETS: Final = {"training": "train", "validation": "val", "testing": "test"}
_CLIP_S: Final = 10  # Length of every clip in the official CSV files and in the id lists.


@dataclass(frozen=True)
class _Cut:
    """A cut of a video, in the terms that all lists of Kinetics share."""

    video: str
    start: int
    end: int
    label: str
    split: str


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Reads the clips of the classes of ``spec`` from id lists, and the rest from CSV files.

    Raises:
        ConfigError: Neither an id list nor the CSV file names the train clips of some class.
    """
    rename = option(spec, "rename", {})
    official = _official(spec, rename)
    exact = [cut for cut in _exact(lists, spec) if cut.label in official]
    exact_splits = {cut.split for cut in exact}
    covered = {(label, split) for label in option(spec, "ids", []) for split in exact_splits}
    cuts = exact + list(_csv(lists, spec, {(c, s) for c in official for s in SPLITS} - covered))
    return [_listed(cut, rename) for cut in cuts]


def _official(spec: Spec, rename: dict[str, str]) -> set[str]:
    """Names of the classes as Kinetics writes them, except those for which it has no label."""
    back = {name: label for label, name in rename.items()}
    return {back.get(c, c) for c in spec.classes} - set(option(spec, "unlabelled", []))


def _listed(cut: _Cut, rename: dict[str, str]) -> Listed:
    return Listed(
        key=key(cut.video, cut.start, cut.end),
        label=rename.get(cut.label, cut.label),
        split=cut.split,
        names={"video": names(cut.video, cut.start, cut.end, bare=True)},
        extra={"youtube_id": cut.video, "youtube_start_s": str(cut.start)},
        span=(float(cut.start), float(cut.end)),
    )


def _exact(lists: Lists, spec: Spec) -> Iterator[_Cut]:
    """Yields the clips of the database or, without one, of text lists and a merged database."""
    database = lists.get(files(spec, "database"))
    if database:
        log.info("%s: clips from %s", spec.name, database)
        yield from _database(database)
        return
    given = set()
    for split in ("train", "test"):
        if path := lists.get(files(spec, f"ids_{split}")):
            log.info("%s: %s clips from %s", spec.name, split, path)
            given.add(split)
            yield from _ids(path, split, option(spec, "ids", []))
    if merged := lists.get(files(spec, "merged_database")):
        log.info("%s: %s from %s", spec.name, sorted(set(SPLITS) - given), merged)
        yield from (cut for cut in _database(merged) if cut.split not in given)


def _database(path: Path) -> Iterator[_Cut]:
    """Reads a JSON database: clip name to subset and label.

    One known database calls Kinetics' test clips "training" too; only train names carry an end.
    """
    try:
        entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))["database"]
        items = [(name, entry["subset"], entry["label"]) for name, entry in entries.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no JSON database of clips ({error!r}); get it again") from error
    for name, subset, label in items:
        place = parse(name)
        if not place or subset not in _SUBSETS:
            raise DataError(f"{path}: {name!r} in subset {subset!r} is no clip of Kinetics")
        split = _SUBSETS[subset]
        if split == "train" and name.count("_", 11) == 1:
            split = "test"
        yield _Cut(*place, place[1] + _CLIP_S, label.replace("_", " "), split)


def _ids(path: Path, split: str, ids: list[str]) -> Iterator[_Cut]:
    """Reads lines ``name,duration,class id``, where the class id is an index of ``ids``."""
    for line, row in table(path):
        place = parse(row[0])
        if not place or len(row) != 3 or not row[2].isdecimal() or int(row[2]) >= len(ids):
            wanted = f"expected name,duration,class id (0 to {len(ids) - 1})"
            raise line_error(path, line, ",".join(row), wanted)
        yield _Cut(*place, place[1] + _CLIP_S, ids[int(row[2])], split)


def _csv(lists: Lists, spec: Spec, wanted: set[tuple[str, str]]) -> Iterator[_Cut]:
    """Yields clips of the (label, split) pairs ``wanted``; only the file for train has to exist."""
    for split in SPLITS:
        labels = {label for label, part in wanted if part == split}
        if not labels:
            continue
        aliases = files(spec, split)
        path = lists.need(aliases, spec) if split == "train" else lists.get(aliases)
        if path:
            yield from _csv_file(path, split, labels)
        else:
            what = f"{len(labels)} classes" if len(labels) > 3 else ", ".join(sorted(labels))
            log.warning("%s: no list %s, so no %s clips of %s", spec.name, aliases[0], split, what)


def _csv_file(path: Path, split: str, labels: set[str]) -> Iterator[_Cut]:
    rows = table(path)
    columns = [name.lower() for name in next(rows, (1, []))[1]]
    needed = ("youtube_id", "time_start", "time_end")
    if not set(needed) <= set(columns):
        raise line_error(path, 1, ",".join(columns), f"expected the columns {', '.join(needed)}")
    if "label" not in columns:
        log.warning(
            "%s has no column of labels: its %s clips are left out; take the file with labels, "
            "or add the id lists, which have them",
            *(path, split),
        )
        return
    for line, row in rows:
        fields = dict(zip(columns, row, strict=False))
        start, end = (whole_seconds(fields.get(name, "")) for name in needed[1:])
        if len(row) < len(columns) or start is None or end is None:
            raise line_error(path, line, ",".join(row), f"expected {','.join(columns)}")
        if fields["label"] in labels:
            yield _Cut(fields["youtube_id"], start, end, fields["label"], split)
