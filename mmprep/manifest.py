"""The manifest: one row for each clip, and the CSV file that holds the rows.

A row names its sources by kind, because data sets differ: a Kinetics clip is one ``video``, an
NVGesture clip a ``video`` and a ``depth`` stream, an AV-MNIST sample an ``image`` and an ``audio``.
"""

import csv
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from mmprep.errors import DataError

# Kinds of source that a row may have; each is a column of the CSV.
SOURCES: Final = ("video", "audio", "image", "depth", "text", "flow")
SPLITS: Final = ("train", "val", "test")
KEY_LENGTH: Final = 80
_COLUMNS: Final = ("key", "label", "split", "start", "end")
_KEY = re.compile(rf"[A-Za-z0-9_-]{{1,{KEY_LENGTH}}}")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One clip.

    Attributes:
        key: Name of the sample, of up to 80 letters, digits, ``_`` and ``-``; unique, and the same
            in every build.
        label: Class name, as the data set writes it.
        split: Name of the split: ``train``, ``val`` or ``test``.
        sources: Kind of source (see `SOURCES`) to its POSIX path relative to ``--raw``. An
            ``image`` may end in ``#N``: the N-th picture of an idx file.
        start: Seconds from the source's beginning to the clip's start; None is 0.
        end: Seconds from the source's beginning to the clip's end; None is the source's end.
        extra: Further columns of the list, which are copied into the sample's record.
    """

    key: str
    label: str
    split: str
    sources: Mapping[str, str]
    start: float | None = None
    end: float | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Path of the first source, which stands for the row in messages."""
        return next(iter(self.sources.values()))


def safe_key(name: str) -> str:
    """Returns ``name`` if it is a valid key, else a readable, unique and stable one made from it.

    Example:
        >>> safe_key("-3Mwkq-7TV4_2")
        '-3Mwkq-7TV4_2'
        >>> safe_key("été/clip 1")
        '_t__clip_1-83a6ec26'
    """
    if _KEY.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return f"{readable[: KEY_LENGTH - 9]}-{digest}"


def write_csv(rows: Iterable[Row], path: Path) -> None:
    """Writes ``rows`` as UTF-8 CSV: ``key,label,split,start,end``, the sources, then ``extra``.

    Raises:
        DataError: An entry of ``extra`` has the name of another column.
    """
    rows = list(rows)
    kinds = [kind for kind in SOURCES if any(kind in row.sources for row in rows)]
    extras = sorted({name for row in rows for name in row.extra})
    if taken := set(extras) & {*_COLUMNS, *SOURCES}:
        raise DataError(f"{path}: extra {sorted(taken)[0]!r} is the name of a column; rename it")
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*_COLUMNS, *kinds, *extras])
        for row in rows:
            times = ("" if t is None else repr(t) for t in (row.start, row.end))
            sources = (row.sources.get(kind, "") for kind in kinds)
            more = (row.extra.get(name, "") for name in extras)
            table.writerow([row.key, row.label, row.split, *times, *sources, *more])


def read_csv(path: Path) -> list[Row]:
    """Reads a manifest.

    ``label`` and one source column are required. ``split`` defaults to ``train``; ``key`` to the
    source's path without its suffix. Columns of other names are the row's ``extra``. A BOM, CRLF
    and quoted commas are fine.

    Raises:
        DataError: The file is malformed; the message names the line and the fault.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        try:
            columns = table.fieldnames or []
            if "label" not in columns or not set(SOURCES) & set(columns):
                raise DataError(
                    f"{path}: a manifest has a header with `label` and at least one of "
                    f"{', '.join(SOURCES)}; this one has {', '.join(columns) or 'nothing'}"
                )
            return check_rows([_row(fields, path, table.line_num) for fields in table], str(path))
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 ({error}); save it as UTF-8") from error
        except csv.Error as error:
            raise DataError(f"{path}, line {table.line_num}: {error}; save it as CSV") from error


def check_rows(rows: Sequence[Row], origin: str) -> list[Row]:
    """Returns ``rows`` if their keys, splits and paths are valid.

    Args:
        rows: Rows to check.
        origin: Name of the list, for error messages.

    Raises:
        DataError: A key is malformed or used twice, a split is unknown, or a path leaves ``--raw``.
    """
    seen: dict[str, Row] = {}
    for row in rows:
        if not _KEY.fullmatch(row.key):
            raise DataError(
                f"{origin}: key {row.key!r} may hold letters, digits, _ and -, at most {KEY_LENGTH}"
            )
        if row.key in seen:
            raise DataError(
                f"{origin}: key {row.key!r} stands twice: {seen[row.key].source} and {row.source}"
            )
        if row.split not in SPLITS:
            raise DataError(
                f"{origin}: {row.key}: split {row.split!r} is none of {', '.join(SPLITS)}"
            )
        for source in row.sources.values():
            if leads_outside(source):
                raise DataError(
                    f"{origin}: {row.key}: {source!r} leaves --raw; give a path below it"
                )
        seen[row.key] = row
    return list(rows)


def leads_outside(source: str) -> bool:
    """Whether the path ``source``, as it is written, leads out of the raw folder."""
    path = PurePosixPath(source.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or bool(re.match(r"[A-Za-z]:", source))


def _row(fields: Mapping[str, str | None], path: Path, line: int) -> Row:
    # DictReader stores fields beyond the header under the key None.
    if None in fields:
        raise DataError(
            f"{path}, line {line}: more fields than the header; quote those with commas"
        )
    sources = {kind: value for kind in SOURCES if (value := (fields.get(kind) or "").strip())}
    label = (fields.get("label") or "").strip()
    if not sources or not label:
        raise DataError(f"{path}, line {line}: a row needs a label and a source")
    start, end = (_seconds(fields.get(name), path, line) for name in ("start", "end"))
    if end is not None and end <= (start or 0):
        raise DataError(f"{path}, line {line}: the end, {end:g} s, is not after the start")
    stem = str(PurePosixPath(next(iter(sources.values()))).with_suffix(""))
    return Row(
        key=(fields.get("key") or "").strip() or safe_key(stem),
        label=label,
        split=(fields.get("split") or "").strip() or "train",
        sources=sources,
        start=start,
        end=end,
        extra={n: v for n, v in fields.items() if v and n not in (*_COLUMNS, *SOURCES)},
    )


def _seconds(text: str | None, path: Path, line: int) -> float | None:
    if not (text or "").strip():
        return None
    try:
        value = float(text or "")
    except ValueError as error:
        raise DataError(f"{path}, line {line}: {text!r} is no time in seconds") from error
    if not 0 <= value < 1e7:
        raise DataError(f"{path}, line {line}: {text!r} is no time in seconds")
    return value


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One clip that an official list names, before its files are looked for.

    Attributes:
        key: Key of the sample, see `Row`.
        label: Class name.
        split: Name of the split: ``train``, ``val`` or ``test``.
        names: Kind of source to the file names, without suffix, under which it may lie, best first.
            A name with ``/`` must match the end of a path; one that is the whole path of a file,
            with its suffix, means that file; ``#N`` at the end (picture N of an idx file) stays.
        start: Seconds from the beginning of the file, not of the video from which it was cut, to
            the clip's start.
        end: Seconds from the beginning of the file to the clip's end.
        extra: Further columns of the list.
    """

    key: str
    label: str
    split: str
    names: Mapping[str, tuple[str, ...]]
    start: float | None = None
    end: float | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
