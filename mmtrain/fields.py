"""Fields of dataclasses that check their own values: a name out of a list, a number in a range.

A dataclass calls `check_fields` in its ``__post_init__``, as `mmtrain.methods.base.Method` does; a
subclass with a ``__post_init__`` of its own calls that of its base. A field that a subclass
declares anew has the check of the new declaration only.

Example:
    >>> @dataclass(kw_only=True)
    ... class Example:
    ...     form: str = one_of("tpami", "cvpr22")
    ...     alpha: float = between(0, 1, default=0.3)
    ...
    ...     def __post_init__(self) -> None:
    ...         check_fields(self)
    >>> Example(alpha=2)
    Traceback (most recent call last):
    mmprep.errors.ConfigError: alpha is in [0, 1]; got 2
"""

import math
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import Any, Final, TypeAlias

from mmtrain.errors import ConfigError, UnknownName

Check: TypeAlias = Callable[[str, object], None]

_CHECK: Final = "check"
_ALLOWED: Final = "allowed"


def one_of(*names: str, default: str | None = None, kind: str | None = None) -> Any:
    """Makes a field that takes one of ``names``.

    Args:
        names: Values that the field takes.
        default: Default of the field; the first name if None.
        kind: Noun for the value in messages; the field's own name if None.
    """

    def check(name: str, value: object) -> None:
        if value not in names:
            raise UnknownName(kind or name, str(value), names)

    metadata = {_CHECK: check, _ALLOWED: ", ".join(names)}
    return field(default=names[0] if default is None else default, metadata=metadata)


def between(low: float, high: float, *, default: float | None, ends: str = "[]") -> Any:
    """Makes a field that takes a number in a range, or None if the default is.

    Args:
        low: Lower end of the range.
        high: Upper end of the range.
        default: Default of the field.
        ends: Brackets of the range: ``[)`` leaves the upper end out, ``(]`` the lower.
    """
    return _number(
        f"in {ends[0]}{low:g}, {high:g}{ends[1]}",
        lambda value: (
            (low <= value if ends[0] == "[" else low < value)
            and (value <= high if ends[1] == "]" else value < high)
        ),
        default,
    )


def at_least(low: float, *, default: float | None) -> Any:
    """Makes a field that takes ``low`` or a finite number above it, or None if the default is."""
    return _number(f"at least {low:g}", lambda value: low <= value, default)


def above(low: float, *, default: float | None) -> Any:
    """Makes a field that takes a finite number above ``low``, or None if the default is."""
    return _number(f"above {low:g}", lambda value: low < value, default)


def check_fields(instance: Any) -> None:
    """Checks the value of each field of ``instance`` that was made here.

    Raises:
        ConfigError: A number out of its range, or something that is no number.
        UnknownName: A name that is not among those of its field.
    """
    for each in fields(instance):
        if check := each.metadata.get(_CHECK):
            check(each.name, getattr(instance, each.name))


def allowed(each: "Field[Any]") -> str:
    """Text of the values that a field takes: names, or a range; empty where there is no check."""
    text: str = each.metadata.get(_ALLOWED, "")
    return text


@dataclass(frozen=True)
class _Range:
    text: str
    holds: Callable[[float], bool]
    optional: bool

    def __call__(self, name: str, value: object) -> None:
        if value is None and self.optional:
            return
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # Comparisons with NaN are false, but infinity is at least everything.
        if not number or not math.isfinite(value) or not self.holds(value):  # type: ignore[arg-type]  # narrowed by ``number``
            raise ConfigError(f"{name} is {self.text}; got {value!r}")


def _number(text: str, holds: Callable[[float], bool], default: float | None) -> Any:
    check = _Range(text, holds, default is None)
    return field(default=default, metadata={_CHECK: check, _ALLOWED: text})
