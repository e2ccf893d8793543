"""Overrides of a config: texts of ``--set``, and the parameters of everything that is chosen."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from mmprep.assignments import Value, split_assignment
from mmtrain import plugins
from mmtrain.config.choices import BY_CHOICE
from mmtrain.config.run import BYTES, TrainConfig, changed_file, keys
from mmtrain.config.values import Kind, kind_of_default, parse
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.methods.catalog import METHODS
from mmtrain.modalities import MODALITIES
from mmtrain.models.catalog import require_kind
from mmtrain.names import PARAMETER_ALIASES, canonical

log = logging.getLogger(__name__)

# Name of the tokenizer in a folder in Hugging Face layout.
_TOKENIZER: Final = "tokenizer.json"


def overrides(texts: Iterable[str], config: TrainConfig) -> dict[str, Value]:
    """Values that texts ``KEY=VALUE`` give, as `TrainConfig.changed` takes them.

    Args:
        texts: ``epochs=3``, ``optimizer.lr=0.1``, ``method.alpha=0.5`` or, for the encoder of one
            modality, ``encoder.audio.width=64``. Where only one thing has a parameter of that name,
            ``lr=0.1`` and ``alpha=0.5`` do. ``schedule=cosine`` is ``schedule.name=cosine``.
        config: Config that chooses the method, curriculum, fusion and encoders.

    Raises:
        ConfigError: No ``=``, a name that several have, or a value of a wrong type.
        UnknownName: Nothing has a parameter of that name.
    """
    known = keys() | {
        f"{choice}.{name}": kind_of_default(default)
        for choice in BY_CHOICE
        for name, default in _parameters(config, choice).items()
    }
    values: dict[str, Value] = {}
    for text in texts:
        try:
            key, value = split_assignment(text)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        name, kind = _meant(key, known, config)
        values[name] = parse(name, value, kind)
    return values


def _meant(key: str, known: Mapping[str, Kind], config: TrainConfig) -> tuple[str, Kind]:
    """Full name of a parameter, and the kind of its values."""
    if key.startswith("encoder.") and key.count(".") == 2:
        _, modality, parameter = key.split(".")
        encoder = config.encoder_of(modality)
        own = _defaults("encoder", encoder)
        name = canonical(parameter, own)
        if name not in own:
            raise UnknownName(f"parameter of encoder {encoder}", parameter, own)
        return f"encoder.{modality}.{name}", kind_of_default(own[name])
    key = canonical(key.lower().replace("-", "_"), known, PARAMETER_ALIASES)
    meant = [k for k in known if key in (k, k.partition(".")[2], k.removesuffix(".name"))]
    if not meant:
        short = filter(None, (k.partition(".")[2] for k in known))
        raise UnknownName("parameter", key, {*known, *short})
    if len(meant) > 1 and key not in meant:
        raise ConfigError(f"several parameters are called {key}: say {' or '.join(meant)}")
    name = key if key in meant else meant[0]
    return name, known[name]


def paired(config: TrainConfig) -> TrainConfig:
    """The config with the curriculum that is part of its method.

    Raises:
        ConfigError: Another curriculum was chosen.
        UnknownName: There is no such method.
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
    """The config with every parameter of what it chooses, and the digests of its files.

    Encoders of modalities that the run does not train on are dropped; a modality whose kind the
    encoder of all does not take gets that of its kind. The path of a tokenizer becomes absolute.

    Raises:
        UnknownName: A choice that is in no catalog, or a parameter that it does not have.
        ConfigError: An encoder does not take the kind of its modality, or the file of a plug-in or
            tokenizer has changed since the run began.
    """
    config = _for_its_modalities(_with_encoders(_with_tokenizer(paired(config))))
    settings: dict[str, dict[str, Any]] = {}
    for choice in BY_CHOICE:
        given = config.settings.get(choice, {})
        known = _parameters(config, choice)
        for strange in set(given) - set(known):
            name = getattr(config, choice)
            raise UnknownName(f"parameter of {choice} {name}", strange, known)
        _require_kinds(choice, given, known)
        settings[choice] = {**_defaults(choice, getattr(config, choice)), **given}
    settings |= _by_modality(config)
    config = replace(config, task=config.task and plugins.absolute(config.task))
    return replace(config, settings=settings, plugins=_digests(config))


def with_defaults(config: TrainConfig) -> TrainConfig:
    """The config of a run with the parameters that are younger than the run, at their defaults.

    A parameter that is added to a method, curriculum, fusion or encoder keeps the method as it was
    by default, so an older run means the same with it.
    """
    settings = {
        choice: {**_defaults(choice, getattr(config, choice)), **config.settings.get(choice, {})}
        for choice in BY_CHOICE
    }
    return replace(config, settings={**config.settings, **settings})


def _defaults(choice: str, name: str) -> dict[str, Any]:
    return {p.name: p.default for p in BY_CHOICE[choice].explain(name).parameters}


def _parameters(config: TrainConfig, choice: str) -> dict[str, Any]:
    """Parameter to its default, of a choice; of all encoders together."""
    own = _defaults(choice, getattr(config, choice))
    others = config.encoders.values() if choice == "encoder" else ()
    for name in others:
        own = {**_defaults(choice, name), **own}
    return own


def _require_kinds(choice: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuses values of another kind than the defaults: a config may be a stranger's file.

    Raises:
        ConfigError: A value is of none of that kind.
    """
    for name, value in given.items():
        default = known[name]
        kind = next((k for k in (bool, (int, float), str) if isinstance(default, k)), object)
        alike = isinstance(value, bool) == isinstance(default, bool) or kind is object
        if not isinstance(value, kind) or not alike:
            raise ConfigError(f"{choice}.{name} takes a value like {default!r}; got {value!r:.60}")


def _with_tokenizer(config: TrainConfig) -> TrainConfig:
    """The config with the whole path of its tokenizer; of a folder, the file in it."""
    if config.view.tokenizer == BYTES:
        return config
    path = Path(config.view.tokenizer).resolve()
    path = path / _TOKENIZER if path.is_dir() else path
    return replace(config, view=replace(config.view, tokenizer=str(path)))


def _with_encoders(config: TrainConfig) -> TrainConfig:
    """The config with the encoder of each modality that has another than the one of all."""
    chosen = {m: config.encoder_of(m) for m in config.modalities if m in MODALITIES}
    for modality, encoder in chosen.items():
        require_kind(modality, encoder)
    return replace(config, encoders={**config.encoders, **chosen})


def _for_its_modalities(config: TrainConfig) -> TrainConfig:
    """Without encoders that are the one of all, or of modalities that are not trained on."""

    def wanted(modality: str) -> bool:
        return not config.modalities or modality in config.modalities

    encoders = {
        m: name for m, name in config.encoders.items() if wanted(m) and name != config.encoder
    }
    settings = {
        choice: own
        for choice, own in config.settings.items()
        if not choice.startswith("encoder.") or wanted(choice.removeprefix("encoder."))
    }
    return replace(config, encoders=encoders, settings=settings)


def _by_modality(config: TrainConfig) -> dict[str, dict[str, Any]]:
    """``encoder.MODALITY`` to the parameters of an encoder that has some of its own."""
    common = config.settings.get("encoder", {})
    own = {c.removeprefix("encoder."): v for c, v in config.settings.items() if "." in c}
    found: dict[str, dict[str, Any]] = {}
    for modality in dict.fromkeys((*config.encoders, *own)):
        name = config.encoder_of(modality)
        known, given = _defaults("encoder", name), own.get(modality, {})
        for strange in set(given) - set(known):
            raise UnknownName(f"parameter of encoder {name}", strange, known)
        _require_kinds(f"encoder.{modality}", given, known)
        shared = {key: value for key, value in common.items() if key in known}
        found[f"encoder.{modality}"] = {**known, **shared, **given}
    return found


def _digests(config: TrainConfig) -> dict[str, str]:
    """SHA-256 of the files of plug-ins and tokenizer, as they were when the run began."""
    now = plugins.digests(config.chosen)
    if config.view.tokenizer != BYTES:
        now |= plugins.digests_of_files([config.view.tokenizer])
    before = {path: config.plugins.get(path, digest) for path, digest in now.items()}
    for path, digest in now.items():
        if digest != before[path]:
            message = changed_file(path, before[path], digest)
            if not config.allow_changed:
                raise ConfigError(message)
            log.warning("%s", message)
    return before


def require_consent(config: TrainConfig, place: str) -> None:
    """Refuses a config from a file that names plug-ins, unless the user consents to their code.

    Args:
        config: Content of the file.
        place: Name of the file, for the message.

    Raises:
        ConfigError: There is a plug-in that nobody consented to, see `mmtrain.plugins`.
    """
    strange = plugins.without_consent(config.chosen)
    if not strange:
        return
    now = plugins.digests(strange)
    before = {path: config.plugins.get(path, digest) for path, digest in now.items()}
    changes = [changed_file(p, before[p], now[p]) for p in now if now[p] != before[p]]
    consent = (
        f"{place} names the plug-in {strange[0]}, whose code would run here; if you trust it, say "
        "--allow-plugins (in Python: `with mmtrain.plugins.allowing():`)"
    )
    raise ConfigError("; ".join([consent, *changes]))


def require_encoders(config: TrainConfig, modalities: Iterable[str]) -> None:
    """Refuses an encoder for a modality that the data lack.

    Raises:
        UnknownName: There is no such modality.
    """
    known = tuple(modalities)
    own = (choice.removeprefix("encoder.") for choice in config.settings if "." in choice)
    for modality in (*config.encoders, *own):
        if modality not in known:
            raise UnknownName("modality with an encoder", modality, known)
