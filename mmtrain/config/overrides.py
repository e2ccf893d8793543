"""From names and texts to a config: what ``--set`` means, and the parameters of what is chosen."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from mmtrain.catalog import Catalog
from mmtrain.config.run import CHOICES, TrainConfig, Value, keys, parse
from mmtrain.curricula.catalog import CURRICULA
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.methods.catalog import METHODS
from mmtrain.models.catalog import ENCODERS, FUSIONS
from mmtrain.names import PARAMETER_ALIASES, canonical

_CATALOGS: Final[Mapping[str, Catalog[object]]] = dict(
    zip(CHOICES, (METHODS, CURRICULA, FUSIONS, ENCODERS), strict=True)
)


def changes(texts: Iterable[str], names: Mapping[str, str]) -> dict[str, Value]:
    """What ``KEY=VALUE`` texts change, as `TrainConfig.changed` takes it.

    Args:
        texts: ``epochs=3``, ``optimizer.lr=0.1`` or ``method.alpha=0.5``; where only one thing has
            a parameter of that name, ``lr=0.1`` and ``alpha=0.5`` do.
        names: Choice to the chosen name: ``{"method": "ogm", ...}``.

            ``schedule=cosine`` is ``schedule.name=cosine``.

    Raises:
        ConfigError: No ``=``, a name that several have, or a value of a wrong type.
        UnknownName: Nothing has a parameter of that name.
    """
    known: dict[str, type] = keys() | {
        f"{choice}.{p.name}": object if p.default is None else type(p.default)
        for choice, name in names.items()
        for p in _CATALOGS[choice].explain(name).parameters
    }
    found: dict[str, Value] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set takes KEY=VALUE; got {text!r}")
        key = canonical(key.strip().lower().replace("-", "_"), known, PARAMETER_ALIASES)
        meant = [k for k in known if key in (k, k.partition(".")[2], k.removesuffix(".name"))]
        if not meant:
            raise UnknownName(
                "parameter", key, {*known, *filter(None, (k.partition(".")[2] for k in known))}
            )
        if len(meant) > 1 and key not in meant:
            raise ConfigError(f"several parameters are called {key}: say {' or '.join(meant)}")
        name = key if key in meant else meant[0]
        found[name] = parse(name, value.strip(), known[name])
    return found


def paired(config: TrainConfig) -> TrainConfig:
    """The config with the curriculum that is part of its method.

    Raises:
        ConfigError: Another one was chosen.
        UnknownName: No such method.
    """
    entry = METHODS.entry(config.method)
    if entry.curriculum is None or config.curriculum == entry.curriculum:
        return config
    if config.curriculum != TrainConfig.curriculum:
        method = entry.target.rpartition(":")[0]
        raise ConfigError(
            f"{entry.name} is {method} with the curriculum {entry.curriculum}; for "
            f"{config.curriculum} say --method {method} --curriculum {config.curriculum}"
        )
    return replace(config, curriculum=entry.curriculum)


def resolved(config: TrainConfig) -> TrainConfig:
    """The config with every parameter of what it chooses, defaults included.

    Raises:
        UnknownName: A choice that is in no catalog, or a parameter that it does not have.
    """
    config = paired(config)
    settings: dict[str, dict[str, Any]] = {}
    for choice, catalog in _CATALOGS.items():
        name = getattr(config, choice)
        parameters = {p.name: p.default for p in catalog.explain(name).parameters}
        given = config.settings.get(choice, {})
        for strange in set(given) - set(parameters):
            raise UnknownName(f"parameter of {choice} {name}", strange, parameters)
        for parameter, value in given.items():
            _require_kind(f"{choice}.{parameter}", value, parameters[parameter])
        settings[choice] = {**parameters, **given}
    return replace(config, settings=settings)


def _require_kind(name: str, value: object, default: object) -> None:
    """Refuses a value of another kind than the default: a config may come from a stranger's file.

    Raises:
        ConfigError: It is none of that kind.
    """
    for kind in (bool, (int, float), str):
        if isinstance(default, kind):
            if isinstance(value, kind) and isinstance(value, bool) == isinstance(default, bool):
                return
            raise ConfigError(f"{name} takes a value like {default!r}; got {value!r:.60}")


def names_of(config: TrainConfig) -> dict[str, str]:
    """Choice to the chosen name."""
    return {choice: getattr(config, choice) for choice in CHOICES}
