"""Parameters that ``mmprep build --set`` takes, with type, default and meaning."""

import inspect
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from mmprep.build.request import BY_FLAG
from mmprep.config import PartsConfig
from mmprep.docstrings import descriptions
from mmprep.format.parts import PARTS


class Parameter(NamedTuple):
    """One parameter.

    Attributes:
        name: Name, as ``--set`` takes it.
        type: Name of the type of its values.
        default: Default where the data set sets none.
        help: Meaning.
        parts: Parts whose bytes depend on it; empty for all.
    """

    name: str
    type: str
    default: Any
    help: str
    parts: tuple[str, ...]


def parameters(config: PartsConfig | None = None) -> tuple[Parameter, ...]:
    """Every parameter, in the order of its table.

    Args:
        config: Parameters of a data set, whose values are the defaults; None takes our own.
    """
    return tuple(_of(config or PartsConfig(), ""))


def _of(table: Any, prefix: str) -> list[Parameter]:
    helps = descriptions(inspect.getdoc(type(table)) or "", "Attributes")
    found: list[Parameter] = []
    for each in fields(table):
        name, value = f"{prefix}{each.name}", getattr(table, each.name)
        if is_dataclass(value):
            found += _of(value, f"{name}.")
        elif name not in BY_FLAG:
            kind = each.type if isinstance(each.type, str) else getattr(each.type, "__name__", "")
            kind = kind or str(each.type)
            found.append(Parameter(name, kind, value, helps.get(each.name, ""), _parts(prefix)))
    return found


def _parts(prefix: str) -> tuple[str, ...]:
    """Parts that a table of parameters changes."""
    table = prefix.rstrip(".")
    if not table:
        return ()
    if table == "audio":
        return ("spectrogram",)
    return tuple(name for name, part in PARTS.items() if table in part.settings)
