"""Recipes: what the papers set, a TOML file a data set and protocol, each value with its source."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

from mmtrain.config.run import CHOICES, TrainConfig, keys
from mmtrain.errors import ConfigError, UnknownName

# Sections that hold for a run of their method or curriculum only.
_CHOSEN: Final = {"methods": "method", "curricula": "curriculum"}


def names() -> tuple[str, ...]:
    """Every recipe."""
    files = (file.name for file in resources.files(__name__).iterdir())
    return tuple(sorted(name[: -len(".toml")] for name in files if name.endswith(".toml")))


def text(name: str) -> str:
    """The file, with its comments.

    Raises:
        UnknownName: There is none.
    """
    if name not in names():
        raise UnknownName("recipe", name, names())
    return (resources.files(__name__) / f"{name}.toml").read_text("utf-8")


def title(name: str) -> str:
    """What it is for, in one sentence."""
    said: str = tomllib.loads(text(name))["title"]
    return said


def applied(name: str, config: TrainConfig) -> TrainConfig:
    """The config with the recipe's values, and those that it has for the method and curriculum.

    Raises:
        UnknownName: No such recipe.
        ConfigError: It holds what a config does not.
    """
    found = tomllib.loads(text(name))
    found.pop("title")
    own = {key: found.pop(key, {}) for key in _CHOSEN}
    changes = _flat(found)
    for section, choice in _CHOSEN.items():
        for key, value in own[section].get(getattr(config, choice), {}).items():
            own_key = key if key in keys() else f"{choice}.{key}"
            changes[own_key] = tuple(value) if isinstance(value, list) else value
    strange = [k for k in changes if k not in keys() and k.partition(".")[0] not in CHOICES]
    if strange:
        raise ConfigError(f"recipe {name}: no parameter {', '.join(strange)}")
    return config.changed(changes)


def _flat(found: Mapping[str, Any]) -> dict[str, Any]:
    """Sections taken apart: ``optimizer.lr``."""
    flat: dict[str, Any] = {}
    for key, value in found.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": each for name, each in value.items()}
        else:
            flat[key] = tuple(value) if isinstance(value, list) else value
    return flat
