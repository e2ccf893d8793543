"""Dataclasses from JSON that somebody else may have written: each value has its field's type."""

import json
import math
import re
import types
import typing
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Final, TypeVar

T = TypeVar("T")

# No number of ours is as large; larger ones overflow the arrays that they go into.
_LARGEST: Final = 2**63
_DIGITS: Final = 21
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(data: bytes | str) -> Any:
    """Reads JSON text.

    Raises:
        ValueError: It is no JSON in UTF-8, is nested deeply, or has a number or a text that no file
            of ours has.
    """
    text = data.decode() if isinstance(data, bytes) else data
    try:
        plain = json.loads(text, parse_int=_integer, parse_float=_real)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if _SURROGATE.search(text):
        # Half of a pair can be neither printed nor written; a whole one is a character.
        json.dumps(plain, ensure_ascii=False).encode()
    return plain


def _integer(text: str) -> int:
    value = int(text) if len(text) < _DIGITS else _LARGEST
    if abs(value) >= _LARGEST:
        raise ValueError(f"a number of {len(text)} digits")
    return value


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text:.40}")
    return value


def build(kind: type[T], plain: object) -> T:
    """Makes a ``kind`` of a JSON object; fields that have a default may be absent.

    Raises:
        ValueError: A field is missing, unknown, or of another type.
    """
    if not isinstance(plain, dict):
        raise ValueError(f"{_show(plain)} where an object is due")
    hints = _hints(typing.cast("Hashable", kind))
    if unknown := sorted(set(plain) - set(hints)):
        raise ValueError(f"unknown field {unknown[0]!r}")
    needed = {
        f.name
        for f in fields(kind)  # type: ignore[arg-type]  # Only dataclasses come here.
        if f.default is MISSING and f.default_factory is MISSING
    }
    if missing := sorted(needed - set(plain)):
        raise ValueError(f"lacks the field {missing[0]!r}")
    values = {}
    for name, value in plain.items():
        try:
            values[name] = _value(hints[name], value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return kind(**values)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _value(hint: Any, value: Any) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _value(next(kind for kind in inner if kind is not type(None)), value)
    if is_dataclass(hint):
        return build(typing.cast("type", hint), value)
    if origin is tuple:
        values = _plain(list, value)
        kinds = inner[:1] * len(values) if inner[-1] is Ellipsis else inner
        if len(kinds) != len(values):
            raise ValueError(f"{len(values)} values where {len(kinds)} are due")
        return tuple(map(_value, kinds, values))
    if origin is not None and issubclass(origin, Mapping):
        return {name: _value(inner[1], each) for name, each in _plain(dict, value).items()}
    if hint is float and type(value) is int:
        return value
    return _plain(hint, value)


def _plain(kind: type, value: Any) -> Any:
    # The very type: to isinstance, True is a number.
    if type(value) is not kind:
        raise ValueError(f"{_show(value)} where a value of type {kind.__name__} is due")
    return value


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
