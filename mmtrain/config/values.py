"""Types of a config's values: taken from annotations, checked in JSON and in texts."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from mmprep.assignments import Value, parse_value
from mmtrain.errors import ConfigError

_TYPES: Final = {"bool": bool, "int": int, "float": float, "str": str, "tuple": tuple}


class Kind(NamedTuple):
    """Type of a value, and whether None stands for it too."""

    type: type
    optional: bool = False


def kind_of(hint: object) -> Kind:
    """Kind of the values that an annotation allows: ``float | None`` is float, and optional."""
    text = hint.__name__ if isinstance(hint, type) else str(hint)
    return Kind(_TYPES[text.partition("[")[0].partition(" ")[0]], text.endswith("| None"))


def kind_of_default(default: object) -> Kind:
    """Kind of the values of a parameter with this default; anything goes where it is None."""
    return Kind(object, True) if default is None else Kind(type(default))


def parse(name: str, text: str, kind: Kind) -> Value:
    """Value that ``text`` stands for.

    Raises:
        ConfigError: It is of another type.
    """
    return checked(name, parse_value(text, kind.type), kind)


def checked(name: str, value: Value, kind: Kind) -> Value:
    """``value``, a whole number as float where a float is wanted.

    Raises:
        ConfigError: It is of another type.
    """
    if kind.type is object or (value is None and kind.optional):
        return value
    if kind.type is float and type(value) is int:
        return float(value)
    if type(value) is not kind.type:
        raise ConfigError(f"{name} takes a value of type {kind.type.__name__}; got {value!r}")
    return value


def flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every leaf of nested mappings by its path, such as ``optimizer.lr``; tuples become lists."""
    leaves: dict[str, Any] = {}
    for name, value in plain.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{name}.")
        else:
            leaves[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return leaves
