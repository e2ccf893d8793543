"""The CSV file that holds the rows of a manifest."""

import csv
import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Final

from mmprep.errors import DataError
from mmprep.format.damage import naming_damage
from mmprep.format.fields import build, parse_json
from mmprep.manifest.rows import SOURCES, SPLITS, TEXTS, Question, Row, check_rows, safe_key
from mmprep.splits import pick

log = logging.getLogger(__name__)

_COLUMNS: Final = ("key", "label", "split", "start", "end")
# Columns that only some manifests have: those of `Row.listed`, of texts in the list itself, and of
# targets. `group` is no name among them, because some lists have a column of their own called so.
_LISTED: Final = ("listed_start", "listed_end")
_CONTENTS: Final = {f"{name}_content": name for name in TEXTS}
_TARGETS: Final = ("target_value", "target_group", "questions")
_KNOWN: Final = frozenset({*_COLUMNS, *_LISTED, *_CONTENTS, *_TARGETS, *SOURCES})


class _Plain(csv.excel):
    lineterminator = "\n"


class _Quoted(_Plain):
    quoting = csv.QUOTE_ALL


def write_csv(rows: Iterable[Row], path: Path) -> None:
    """Writes ``rows`` as UTF-8 CSV: ``key,label,split,start,end``, the sources, then ``extra``.

    Values are written as they are. A label that begins with ``=``, ``+``, ``-`` or ``@`` is a
    formula to a spreadsheet program: import the columns as text there, if the list is a stranger's.

    Raises:
        DataError: An entry of ``extra`` has the name of another column, or a text is empty.
    """
    rows = list(rows)
    columns = _columns_of(rows)
    extras = sorted({name for row in rows for name in row.extra})
    if taken := set(extras) & _KNOWN:
        raise DataError(f"{path}: extra {sorted(taken)[0]!r} is the name of a column; rename it")
    # Without quotes, a reader would take the blanks off a text.
    dialect = _Quoted if _CONTENTS.keys() & set(columns) else _Plain
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, dialect)
        table.writerow([*columns, *extras])
        for row in rows:
            if "" in row.texts.values():
                raise DataError(f"{path}: {row.key}: CSV holds no empty text; put it into a file")
            values = _cells(row)
            more = (row.extra.get(name, "") for name in extras)
            table.writerow([*(values.get(name, "") for name in columns), *more])


def _columns_of(rows: Sequence[Row]) -> list[str]:
    """Columns that ``rows`` need, in the order of the file."""
    used = {name for row in rows for name in _cells(row)}
    optional = (*SOURCES, *_LISTED, *_CONTENTS, *_TARGETS)
    return [*_COLUMNS, *(name for name in optional if name in used)]


def _cells(row: Row) -> dict[str, str]:
    """Texts of the columns in which a row has a value."""
    named = {"key": row.key, "label": row.label, "split": row.split, "target_group": row.group}
    first, last = row.listed or (None, None)
    times = dict(zip(("start", "end", *_LISTED), (row.start, row.end, first, last), strict=True))
    texts = {column: row.texts[name] for column, name in _CONTENTS.items() if name in row.texts}
    cells = {
        **named,
        **{name: repr(seconds) for name, seconds in times.items() if seconds is not None},
        **row.sources,
        **texts,
        "target_value": " ".join(map(repr, row.target)),
        "questions": _questions_text(row.questions),
    }
    return {name: cell for name, cell in cells.items() if cell}


def _questions_text(questions: Sequence[Question]) -> str:
    """JSON of ``questions``, as `_questions` reads it; an empty string for none."""
    return json.dumps(list(map(asdict, questions)), ensure_ascii=False) if questions else ""


def read_csv(path: Path, raw: Path | str | None = None) -> list[Row]:
    """Reads a manifest.

    ``label`` and one column of a source or a text are required; names of columns and splits may be
    in any case. The columns ``text_content``, ``target_content`` and ``question_content`` hold the
    text itself, where ``text``, ``target`` and ``question`` hold the path of a file. `Row.target`
    is the column ``target_value``, numbers with blanks between them, `Row.group` ``target_group``,
    and `Row.questions` ``questions``, a JSON list of objects with ``id``, ``text``, ``label`` and
    ``group``; a row with questions has no label.
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
            if "label" not in columns or not {*SOURCES, *_CONTENTS} & set(columns):
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


def _columns(names: Iterable[str], path: Path) -> list[str]:
    """Names of columns as we write them: ``Label`` and `` video`` are common in spreadsheets."""
    plain = [name.strip() for name in names]
    columns = [name.lower() if name.lower() in _KNOWN else name for name in plain]
    for name in sorted(_KNOWN):
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
    # Blanks belong to a text.
    texts = {name: text for column, name in _CONTENTS.items() if (text := fields.get(column))}
    place = f"{path}, line {line}"
    questions = _questions(values.get("questions", ""), place)
    if not (sources or texts) or not (values["label"] or questions):
        raise DataError(f"{place}: a row needs a label and a source")
    start, end = (_seconds(fields.get(name), place) for name in ("start", "end"))
    if end is not None and end <= (start or 0):
        raise DataError(f"{place}: the end, {end:g} s, is not after the start")
    first, last = (_seconds(fields.get(name), place) for name in _LISTED)
    return Row(
        key=values.get("key", ""),
        label=values["label"],
        split=values.get("split", "").lower(),
        sources=sources,
        start=start,
        end=end,
        extra={name: value for name, value in fields.items() if value and name not in _KNOWN},
        listed=None if first is None or last is None else (first, last),
        target=tuple(_number(text, place) for text in values.get("target_value", "").split()),
        group=values.get("target_group", ""),
        texts=texts,
        questions=questions,
    )


def _questions(text: str, place: str) -> tuple[Question, ...]:
    with naming_damage(f"{place}, column `questions`", fault="no list of questions"):
        plain = parse_json(text) if text else []
        if not isinstance(plain, list):
            raise ValueError(f"{text!r:.60}")
        return tuple(build(Question, each) for each in plain)


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


def _seconds(text: str | None, place: str) -> float | None:
    if not (text or "").strip():
        return None
    try:
        value = float(text or "")
    except ValueError as error:
        raise DataError(f"{place}: {text!r} is no time in seconds") from error
    if not 0 <= value < 1e7:
        raise DataError(f"{place}: {text!r} is no time in seconds")
    return value


def _number(text: str, place: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{place}: the target value {text!r} is no number") from error
