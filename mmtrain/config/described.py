"""Settings of a run, as ``--set`` takes them, with type, default and meaning."""

import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, NamedTuple

from mmprep.docstrings import descriptions
from mmtrain.config.choices import BY_CHOICE
from mmtrain.config.run import SECTIONS, TrainConfig
from mmtrain.fields import allowed

# Filled in by the program, or with a key for each entry.
_NOT_SET: Final = ("data", "settings", "plugins", "encoders")


class Setting(NamedTuple):
    """One setting.

    Attributes:
        name: Name, as ``--set`` takes it.
        type: Name of the type of its values.
        default: Default.
        allowed: Names that it takes, or the range of its numbers; empty where anything goes.
        help: Meaning.
    """

    name: str
    type: str
    default: Any
    allowed: str
    help: str


def settings(chosen: Mapping[str, str] | None = None) -> tuple[Setting, ...]:
    """Settings of every run, and the parameters of what is chosen.

    Args:
        chosen: ``method``, ``curriculum``, ``fusion`` or ``encoder`` to a name of its catalog.

    Raises:
        UnknownName: A name is in no catalog.
    """
    own = _of(TrainConfig(data=""), "")
    for choice, name in (chosen or {}).items():
        own += [
            Setting(f"{choice}.{p.name}", _type_of(p.default), p.default, "", p.help)
            for p in BY_CHOICE[choice].explain(name).parameters
        ]
    return tuple(own)


def _of(config: Any, prefix: str) -> list[Setting]:
    helps = descriptions(inspect.getdoc(type(config)) or "", "Attributes")
    found: list[Setting] = []
    for each in fields(config):
        value = getattr(config, each.name)
        if not prefix and each.name in SECTIONS:
            found += _of(value, f"{each.name}.")
        elif each.name not in _NOT_SET:
            kind = each.type if isinstance(each.type, str) else getattr(each.type, "__name__", "")
            name, kind = f"{prefix}{each.name}", kind or str(each.type)
            found.append(Setting(name, kind, value, allowed(each), helps.get(each.name, "")))
    return found


def _type_of(default: object) -> str:
    return "" if default is None else type(default).__name__
