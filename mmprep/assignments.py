"""Texts of ``--set``, in both tools: ``KEY=VALUE``, with the value as TOML writes it.

A value that is no TOML is a word: ``crop=resize`` needs no quotes. ``true`` and ``True`` are the
same, so are ``none``, ``None`` and ``null``, for which TOML has nothing.
"""

import re
import tomllib
from typing import Any, Final, TypeAlias

Value: TypeAlias = bool | int | float | str | tuple[Any, ...] | None

_WORDS: Final = {
    **dict.fromkeys(("true", "True"), True),
    **dict.fromkeys(("false", "False"), False),
    **dict.fromkeys(("none", "None", "null")),
}
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def split_assignment(text: str) -> tuple[str, str]:
    """Key and value of ``KEY=VALUE``, without the spaces around them.

    Raises:
        ValueError: The text has no ``=``, or nothing before it.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"--set takes KEY=VALUE; got {text!r}")
    return key.strip(), value.strip()


def parse_value(text: str, kind: type = object) -> Value:
    """Value that ``text`` stands for, as near to ``kind`` as it can be.

    Args:
        text: Right side of an assignment.
        kind: Type that is wanted. ``str`` keeps the text as it is, quotes apart; ``tuple`` and
            ``list`` split it at commas; ``float`` takes whole numbers too; ``object`` takes what
            the text looks like.

    Returns:
        A value of ``kind``, or one of another type that the text looks like: the caller, who knows
        the name of the parameter, refuses it.

    Example:
        >>> parse_value("0.5"), parse_value("True"), parse_value("resize"), parse_value("50", str)
        (0.5, True, 'resize', '50')
        >>> parse_value("runs/a, runs/b", tuple)
        ('runs/a', 'runs/b')
    """
    if kind is str:
        value = _toml(text)
        return value if isinstance(value, str) else text
    if kind in (tuple, list):
        value = _toml(text)
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in text.split(",") if part.strip())
    value = _plain(text)
    if kind is float and type(value) is int:
        return float(value)
    return value


def _plain(text: str) -> Value:
    if text in _WORDS:
        return _WORDS[text]
    value = _toml(text)
    if value is None and _NUMBER.fullmatch(text):  # TOML has no ``.5`` and no ``1.``
        return float(text)
    return text if value is None else value


def _toml(text: str) -> Value:
    """The value of ``text`` as TOML, of a type that parameters have; None if it is none."""
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return None
    value = table["value"]
    # A line break would begin a second assignment; dates and tables are no parameters.
    if len(table) > 1 or not isinstance(value, bool | int | float | str | list):
        return None
    return tuple(value) if isinstance(value, list) else value
