"""Reading `KEY.json`, the record of a sample, as far as pages, pictures and labels use it."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mmprep.format.damage import naming_damage
from mmprep.format.fields import parse_json

_REMEDY: Final = "run `mmprep verify`, and copy or build the data set again"


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_table(of: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(of, value.values()))


def _is_list(of: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(of, value))


def _is_check(value: object) -> bool:
    return isinstance(value, bool) or _is_number(value)


def _is_sound(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    numbers = (value.get(name) for name in ("rate_hz", "channels", "start_s", "duration_s"))
    codec = value.get("codec")
    return all(n is None or _is_number(n) for n in numbers) and (codec is None or _is_text(codec))


# Field to the test of its value. Others may hold anything; all may be absent or null.
_FIELDS: Final[Mapping[str, Callable[[object], bool]]] = {
    **dict.fromkeys(("key", "label", "split", "decoder"), _is_text),
    **dict.fromkeys(("start", "end", "duration_s", "source_duration_s", "fps"), _is_number),
    "sources": _is_table(_is_text),
    "times_s": _is_list(_is_number),
    "size": _is_list(_is_number),
    "checks": _is_table(_is_check),
    "target": _is_list(_is_number),
    "group": _is_text,
    "missing": _is_list(_is_text),
    "questions": _is_list(_is_table(_is_text)),
    "audio": _is_sound,
}


def parse_record(members: Sequence[bytes], place: str) -> dict[str, Any]:
    """Reads the record of a sample.

    Args:
        members: Files of the part ``json``, of which a sample has one.
        place: Name of shard and file, for messages.

    Raises:
        DataError: It is no JSON object, or a field has a value of another type.
    """
    with naming_damage(place, _REMEDY):
        record = parse_json(members[0])
        if not isinstance(record, dict):
            raise ValueError("no JSON object")
        for name, holds in _FIELDS.items():
            value = record.get(name)
            if value is not None and not holds(value):
                raise ValueError(f"{name} is {value!r:.60}")
    return record
