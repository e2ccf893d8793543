"""Text that is safe to print: names come from strangers' files and may hold control characters."""

import json
import logging
import re
from collections.abc import Mapping
from typing import Any, Final

from mmprep.storage.redact import redacted

# Escape sequences, NUL, C1 controls, characters that reorder text, and halves of surrogate pairs.
_MARKS: Final = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE: Final = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_MARKS}]")


def printable(text: str) -> str:
    r"""Writes control characters as escapes, and URLs without passwords; line ends and tabs stay.

    Example:
        >>> printable("cat\x1b[2J")
        'cat\\x1b[2J'
    """
    return _UNSAFE.sub(_escape, redacted(text))


def printable_values(value: Any) -> Any:
    """Applies `printable` to all strings of a plain value, the keys of mappings included."""
    if isinstance(value, str):
        return printable(value.replace("\n", "\\n"))
    if isinstance(value, Mapping):
        return {printable_values(key): printable_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable_values(item) for item in value]
    return value


def printable_json(plain: Mapping[str, Any]) -> str:
    """Text of a JSON object, with JSON's escapes for control characters and no passwords."""
    text = redacted(json.dumps(plain, ensure_ascii=False, indent=1))
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it needs one: ``1 clip``, ``2,000 classes``."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


class PrintableFormatter(logging.Formatter):
    """Formats log records as `printable` text."""

    def format(self, record: logging.LogRecord) -> str:
        """Text of a record."""
        return printable(super().format(record))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
