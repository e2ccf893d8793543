"""Recipes: settings of the papers, a TOML file for each data set and protocol, with their sources.

A recipe has a ``title``, fields of `mmtrain.config.run.TrainConfig` and its sections. Values that
hold for one method or curriculum stand in ``[methods.NAME]`` and ``[curricula.NAME]``: parameters
of it, or fields of the run in quotes, such as ``"schedule.every" = 80``. The encoder of a single
modality stands in a table of its own, with its parameters::

    encoder = "resnet18"        # every other modality

    [encoders.audio]
    name = "small-cnn"          # may be left out: then the parameters are of the encoder of all
    width = 64

A recipe of the user's own is a file: ``--recipe my.toml``.
"""

import tomllib
from collections.abc import Mapping
from typing import Any, Final

from mmtrain.config.run import CHOICES, TrainConfig, keys
from mmtrain.config.shelf import Shelf
from mmtrain.errors import ConfigError

BUDGETS: Final = ("equal", "authors")
# Sections that hold for a run of their method or curriculum only.
_CHOSEN: Final = {"methods": "method", "curricula": "curriculum"}
_SHELF: Final = Shelf(kind="recipe", package=__name__)
names = _SHELF.names
text = _SHELF.text


def title(name: str) -> str:
    """Sentence for lists."""
    return str(_read(name).get("title", name))


def applied(name: str, config: TrainConfig, budget: str = "authors") -> TrainConfig:
    """The config with the recipe's values, those for its method and curriculum included.

    Args:
        name: Name of a recipe, or its file.
        config: Config below the recipe.
        budget: One of BUDGETS: ``authors`` takes all that stands for a method or curriculum;
            ``equal`` leaves fields of the run out there, such as epochs, batch and rate, so that
            all methods have those of the recipe.

    Raises:
        UnknownName: There is no such recipe.
        ConfigError: The recipe has a key that a config does not have.
    """
    plain = _read(name)
    plain.pop("title", None)
    chosen = {section: plain.pop(section, {}) for section in _CHOSEN}
    encoders = plain.pop("encoders", {})
    changes = {**_flat(plain), **_encoders(encoders)}
    for section, choice in _CHOSEN.items():
        for key, value in chosen[section].get(getattr(config, choice), {}).items():
            if budget == "equal" and key in keys():
                continue
            own_key = key if key in keys() else f"{choice}.{key}"
            changes[own_key] = tuple(value) if isinstance(value, list) else value
    known = (*CHOICES, "encoders")
    strange = [k for k in changes if k not in keys() and k.partition(".")[0] not in known]
    if strange:
        raise ConfigError(f"recipe {name}: no parameter {', '.join(strange)}")
    return config.changed(changes)


def _read(name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text(name))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {name}: {error}") from error


def _encoders(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Changes of ``[encoders.MODALITY]``: the encoder's name and its parameters."""
    changes: dict[str, Any] = {}
    for modality, table in tables.items():
        for key, value in table.items():
            own_key = f"encoders.{modality}" if key == "name" else f"encoder.{modality}.{key}"
            changes[own_key] = tuple(value) if isinstance(value, list) else value
    return changes


def _flat(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Changes of fields and sections, by their keys, such as ``optimizer.lr``."""
    changes: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, dict):
            changes |= {f"{key}.{name}": each for name, each in value.items()}
        else:
            changes[key] = tuple(value) if isinstance(value, list) else value
    return changes
