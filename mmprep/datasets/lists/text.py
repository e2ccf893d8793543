"""Lists as text, without line ends and byte-order marks; errors name the line."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from mmprep.errors import DataError


def line_error(path: Path, line: int, text: object, why: str) -> DataError:
    """Returns the error for a malformed line."""
    return DataError(f"{path}, line {line}: {why}: {text!r}")


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields line number and text of each line that is not blank, without BOM and CRLF.

    Raises:
        DataError: The file is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}); get the list again") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def decoded(path: Path) -> str:
    """Text of a file whose encoding its data set does not state: UTF-8 if it is that, else Latin-1.

    Latin-1 takes all bytes; text in another encoding is hardly ever UTF-8 by chance.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def table(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields line number and fields of each row of a CSV file; quotes may contain commas.

    Raises:
        DataError: The file is not UTF-8 or not CSV.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        try:
            for row in rows:
                if any(field.strip() for field in row):
                    yield rows.line_num, [field.strip() for field in row]
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path}, line {rows.line_num}: {error}; get the list again") from error


def whole_seconds(text: str) -> int | None:
    """Reads a whole number of seconds, ``30`` or ``30.0``; None if ``text`` is none.

    Programs for tables write ``30.0`` once a cell of the column was empty.
    """
    match = re.fullmatch(r"(\d+)(\.0*)?", text, re.ASCII)
    return int(match[1]) if match else None


def is_header(row: list[str]) -> bool:
    """Whether the first line of a list is a header: names of columns hold no digits, clips do."""
    return not any(letter.isdigit() for cell in row for letter in cell)
