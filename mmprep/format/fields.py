"""Dataclasses from JSON that somebody else may have written: each value has its field's type."""

import json
import math
import re
import types
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, partial
from typing import Any, Final, TypeAlias, TypeVar

T = TypeVar("T")
Reader: TypeAlias = Callable[[Any], Any]

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
    readers, needed = _readers(typing.cast("Hashable", kind))
    if not plain.keys() <= readers.keys():
        raise ValueError(f"unknown field {min(plain.keys() - readers.keys())!r}")
    if not needed <= plain.keys():
        raise ValueError(f"lacks the field {min(needed - plain.keys())!r}")
    values = {}
    for name, value in plain.items():
        try:
            values[name] = readers[name](value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return kind(**values)


@cache
def _readers(kind: Any) -> tuple[dict[str, Reader], frozenset[str]]:
    """Reader of each field of a dataclass, and the fields without a default."""
    hints = typing.get_type_hints(kind)
    needed = frozenset(
        f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING
    )
    return {name: _reader(hint) for name, hint in hints.items()}, needed


def _reader(hint: Any) -> Reader:
    """Function that turns a JSON value into a value of the type ``hint``.

    A plan of a million clips holds ten million values, so types are taken apart once.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda value: value
    if origin in (typing.Union, types.UnionType):
        read = _reader(next(each for each in inner if each is not type(None)))
        optional = type(None) in inner
        return lambda value: None if value is None and optional else read(value)
    if is_dataclass(hint):
        return partial(build, typing.cast("type", hint))
    if origin is tuple:
        readers = [_reader(each) for each in inner if each is not Ellipsis]
        return partial(_read_tuple, readers, inner)
    if origin is not None and issubclass(origin, Mapping):
        read_value = _reader(inner[1])
        return lambda value: {k: read_value(v) for k, v in _plain(dict, value).items()}
    if hint is float:
        return lambda value: value if type(value) is int else _plain(float, value)
    return partial(_plain, hint)


def _read_tuple(readers: Sequence[Reader], inner: Sequence[Any], value: object) -> tuple[Any, ...]:
    values = _plain(list, value)
    if inner[-1] is Ellipsis:
        return tuple(map(readers[0], values))
    if len(readers) != len(values):
        raise ValueError(f"{len(values)} values where {len(readers)} are due")
    return tuple(read(each) for read, each in zip(readers, values, strict=True))


def _plain(kind: type, value: Any) -> Any:
    # The very type: to isinstance, True is a number.
    if type(value) is not kind:
        raise ValueError(f"{_show(value)} where a value of type {kind.__name__} is due")
    return value


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
