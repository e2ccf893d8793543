"""The manifest: one row for each clip, and the CSV file that holds the rows.

A row names its sources by kind, because data sets differ: a Kinetics clip is one ``video``, an
NVGesture clip a ``video`` and a ``depth`` stream, an AV-MNIST sample an ``image`` and an ``audio``.
"""

import csv
import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from mmprep.errors import DataError
from mmprep.splits import pick

log = logging.getLogger(__name__)

# Kinds of source that a row may have; each is a column of the CSV.
SOURCES: Final = ("video", "audio", "image", "depth", "text", "flow")
SPLITS: Final = ("train", "val", "test")
KEY_LENGTH: Final = 80
_COLUMNS: Final = ("key", "label", "split", "start", "end")
# Columns of `Row.listed`, which only some manifests have.
_LISTED: Final = ("listed_start", "listed_end")
_KEY = re.compile(rf"[A-Za-z0-9_-]{{1,{KEY_LENGTH}}}")


@dataclass(frozen=True, kw_only=True)
class Voice:
    """Sound of another clip, from which a clip's babble may be made, see `mmprep.build.voices`.

    Attributes:
        key: Key of the other clip.
        source: Path of the file with its sound, relative to ``--raw``.
        start: Start of the other clip, as in `Row`.
        end: End of the other clip, as in `Row`.
        listed: Span of the other clip in a whole video, as in `Row`.
    """

    key: str
    source: str
    start: float | None = None
    end: float | None = None
    listed: tuple[float, float] | None = None


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
        listed: Seconds of the whole video between which the clip lies, for a file whose name
            carries no times: a file that is longer than the clip is cut there. None takes the file
            as it is.
        voices: Other clips whose sounds may be mixed into this one's, in the order of their draw.
    """

    key: str
    label: str
    split: str
    sources: Mapping[str, str]
    start: float | None = None
    end: float | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    listed: tuple[float, float] | None = None
    voices: tuple[Voice, ...] = ()

    @property
    def source(self) -> str:
        """Path of the first source, which stands for the row in messages."""
        return next(iter(self.sources.values()))

    def to_json(self) -> dict[str, Any]:
        """Plain values of the row; `listed` and `voices` only where set, as most rows have none."""
        plain = asdict(self)
        if self.listed is None:
            del plain["listed"]
        if not self.voices:
            del plain["voices"]
        return plain


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

    Values are written as they are. A label that begins with ``=``, ``+``, ``-`` or ``@`` is a
    formula to a spreadsheet program: import the columns as text there, if the list is a stranger's.

    Raises:
        DataError: An entry of ``extra`` has the name of another column.
    """
    rows = list(rows)
    kinds = [kind for kind in SOURCES if any(kind in row.sources for row in rows)]
    listed = _LISTED if any(row.listed for row in rows) else ()
    extras = sorted({name for row in rows for name in row.extra})
    if taken := set(extras) & {*_COLUMNS, *_LISTED, *SOURCES}:
        raise DataError(f"{path}: extra {sorted(taken)[0]!r} is the name of a column; rename it")
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*_COLUMNS, *kinds, *listed, *extras])
        for row in rows:
            times = map(_text, (row.start, row.end))
            sources = (row.sources.get(kind, "") for kind in kinds)
            span = map(_text, row.listed or (None,) * len(listed))
            more = (row.extra.get(name, "") for name in extras)
            table.writerow([row.key, row.label, row.split, *times, *sources, *span, *more])


def _text(seconds: float | None) -> str:
    return "" if seconds is None else repr(seconds)


def read_csv(path: Path, raw: Path | str | None = None) -> list[Row]:
    """Reads a manifest.

    ``label`` and one source column are required; names of columns and splits may be in any case.
    Where no row names a split, splits are drawn by the sources' paths, as ``folder`` does. ``key``
    defaults to the source's path without its suffix, and with its times where several rows are
    spans of one file. Columns of other names are the row's ``extra``. A BOM, CRLF, quoted commas
    and blanks around values are fine.

    Args:
        path: CSV file.
        raw: Folder with the clips, or URL of a bucket's prefix; paths that begin with it are taken
            as relative to it.

    Raises:
        DataError: The file is malformed; the message names the line and the fault.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file, skipinitialspace=True)
        try:
            table.fieldnames = columns = _columns(table.fieldnames or [], path)
            if "label" not in columns or not set(SOURCES) & set(columns):
                raise DataError(
                    f"{path}: a manifest has a header with `label` and at least one of "
                    f"{', '.join(SOURCES)}; this one has {', '.join(columns) or 'nothing'}"
                )
            rows = [_row(fields, path, table.line_num, raw) for fields in table]
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 ({error}); save it as UTF-8") from error
        except csv.Error as error:
            raise DataError(f"{path}, line {table.line_num}: {error}; save it as CSV") from error
    return check_rows(_with_splits(_with_keys(rows), path), str(path))


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
                f"{origin}: key {row.key!r} stands twice: {seen[row.key].source} and "
                f"{row.source}; give each row a name of its own in the column `key`"
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


def _columns(names: Iterable[str], path: Path) -> list[str]:
    """Names of columns as we write them: ``Label`` and `` video`` are common in spreadsheets."""
    known = {*_COLUMNS, *_LISTED, *SOURCES}
    plain = [name.strip() for name in names]
    columns = [name.lower() if name.lower() in known else name for name in plain]
    for name in known:
        if columns.count(name) > 1:
            raise DataError(f"{path}: two columns are called {name}; keep one")
    return columns


def _row(
    fields: Mapping[str, str | None], path: Path, line: int, raw: Path | str | None = None
) -> Row:
    # DictReader stores fields beyond the header under the key None.
    if None in fields:
        raise DataError(
            f"{path}, line {line}: more fields than the header; quote those with commas"
        )
    if any("\0" in (value or "") for value in fields.values()):
        raise DataError(f"{path}, line {line}: a NUL byte; save the file as UTF-8 text again")
    values = {name: (value or "").strip() for name, value in fields.items()}
    sources = {kind: _below(raw, values[kind]) for kind in SOURCES if values.get(kind)}
    label = values["label"]
    if not sources or not label:
        raise DataError(f"{path}, line {line}: a row needs a label and a source")
    start, end = (_seconds(fields.get(name), path, line) for name in ("start", "end"))
    if end is not None and end <= (start or 0):
        raise DataError(f"{path}, line {line}: the end, {end:g} s, is not after the start")
    first, last = (_seconds(fields.get(name), path, line) for name in _LISTED)
    return Row(
        key=values.get("key", ""),
        label=label,
        split=values.get("split", "").lower(),
        sources=sources,
        start=start,
        end=end,
        extra={n: v for n, v in fields.items() if v and n not in (*_COLUMNS, *_LISTED, *SOURCES)},
        listed=None if first is None or last is None else (first, last),
    )


def _below(raw: Path | str | None, source: str) -> str:
    """Path of ``source`` relative to ``raw``, with ``/`` between folders."""
    if isinstance(raw, str):
        return source.replace("\\", "/").removeprefix(f"{raw.rstrip('/')}/")
    # On a POSIX disk a backslash may be a letter of the name.
    if "\\" in source and not (raw is not None and (raw / source).exists()):
        source = source.replace("\\", "/")
    if raw is not None and PurePosixPath(source).is_absolute():
        for root in (raw.absolute(), raw.resolve()):
            if PurePosixPath(source).is_relative_to(root):
                return PurePosixPath(source).relative_to(root).as_posix()
    return source


def _with_keys(rows: Sequence[Row]) -> list[Row]:
    """Gives a key to each row without one: its path and, for spans of one file, its times."""
    spans = Counter(row.source for row in rows)

    def key(row: Row) -> str:
        stem = str(PurePosixPath(row.source).with_suffix(""))
        if spans[row.source] == 1 or (row.start is None and row.end is None):
            return safe_key(stem)
        end = "" if row.end is None else f"_{row.end:g}"
        return safe_key(f"{stem}_{row.start or 0:g}{end}")

    return [row if row.key else replace(row, key=key(row)) for row in rows]


def _with_splits(rows: Sequence[Row], path: Path) -> list[Row]:
    """Gives a split to each row without one; the log reports that."""
    without = [row for row in rows if not row.split]
    if not without:
        return list(rows)
    if len(without) < len(rows):
        log.warning("%s: %d of %d rows name no split: train", path, len(without), len(rows))
        return [row if row.split else replace(row, split="train") for row in rows]
    # By the path, so that spans of one video never lie in two splits.
    drawn = [replace(row, split=pick(row.source)) for row in rows]
    counts = Counter(row.split for row in drawn)
    log.warning(
        "%s names no split, so splits are drawn by path: %s; a column `split` sets them",
        *(path, ", ".join(f"{counts[split]} {split}" for split in SPLITS)),
    )
    return drawn


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
        span: Seconds of the whole video between which the clip lies, see `Row.listed`.
    """

    key: str
    label: str
    split: str
    names: Mapping[str, tuple[str, ...]]
    start: float | None = None
    end: float | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    span: tuple[float, float] | None = None
