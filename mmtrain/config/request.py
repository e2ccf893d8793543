"""From a request to the config of a run: options, then a recipe below them, then ``--set``.

The one place where a config is made from what a user asks for: `train`, and `compare` for each of
its entrants, go through here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmtrain import plugins
from mmtrain.config import recipes
from mmtrain.config.choices import BY_CHOICE
from mmtrain.config.overrides import overrides, paired
from mmtrain.config.run import TrainConfig
from mmtrain.errors import ConfigError
from mmtrain.names import MODALITY_ALIASES, canonical


@dataclass(frozen=True, kw_only=True)
class Request:
    """A run as a user asks for it.

    Attributes:
        options: Options that were given, as `TrainConfig.changed` takes them; ``encoder`` may be a
            sequence of texts, see `encoders_of`.
        recipe: Name of a recipe, or its file; the options override its values.
        budget: Whether the recipe's fields of the run for single methods count, see
            `mmtrain.config.recipes.applied`.
        settings: Texts of ``--set``, which override both.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    budget: str = "authors"
    settings: Sequence[str] = ()

    def config(self, base: TrainConfig | None = None) -> TrainConfig:
        """Config that the request describes.

        Args:
            base: Config of the run that is resumed, which holds where nothing else is asked for.

        Raises:
            ConfigError: There is no place of data, a value of a wrong type, or a contradiction.
            UnknownName: A name that is in no catalog, or a parameter that nothing has.
        """
        options = _spelled(self.options)
        if base is None:
            if "data" not in options:
                raise ConfigError("--data is needed: the folder or address of the shards")
            base = TrainConfig(data=options["data"])
        config = paired(_with(base, options))
        if self.recipe is not None:
            name = canonical(self.recipe, recipes.names())
            if "curriculum" in options:
                # A method may have brought another, which must keep what the recipe has for it.
                options["curriculum"] = config.curriculum
            config = paired(_with(recipes.applied(name, config, self.budget), options))
        return config.changed(overrides(self.settings, config))

    def load_plugins(self) -> None:
        """Loads the plug-ins that the options name.

        Raises:
            ConfigError: One cannot be loaded.
            UnknownName: Its file or module has no such class.
        """
        for key, name in _spelled(self.options).items():
            chosen = key in BY_CHOICE or key.startswith("encoders.")
            if chosen and plugins.is_plugin(name):
                plugins.load(name)


def encoders_of(texts: Sequence[str]) -> dict[str, Any]:
    """Changes of a config that texts of ``--encoder`` stand for.

    Args:
        texts: ``resnet18`` for every modality, or ``audio=resnet18,visual=small-cnn``; a text may
            hold several parts with commas between. Without an encoder for every modality, those
            that are not named stay as they are.

    Raises:
        ConfigError: Two encoders for one modality, or for all.

    Example:
        >>> encoders_of(["audio=resnet18,visual=small-cnn"])
        {'encoders.audio': 'resnet18', 'encoders.visual': 'small-cnn'}
        >>> encoders_of(["small-cnn"])
        {'encoders': {}, 'encoder': 'small-cnn'}
    """
    chosen: dict[str, str] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        modality, _, name = part.rpartition("=")
        key = canonical(modality.strip(), MODALITY_ALIASES.values(), MODALITY_ALIASES)
        if key in chosen:
            raise ConfigError(f"--encoder is given twice for {key or 'every modality'}")
        chosen[key] = _name("encoder", name.strip())
    common = {"encoders": {}, "encoder": chosen.pop("")} if "" in chosen else {}
    return {**common, **{f"encoders.{modality}": name for modality, name in chosen.items()}}


def _spelled(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with names in our spelling and whole paths of plug-ins."""
    spelled = {**options}
    for choice in BY_CHOICE:
        if choice in options and isinstance(options[choice], str):
            spelled[choice] = _name(choice, options[choice])
    if not isinstance(options.get("encoder", ""), str):
        del spelled["encoder"]
        spelled |= encoders_of(options["encoder"])
    return spelled


def _name(choice: str, name: str) -> str:
    return plugins.absolute(canonical(name, BY_CHOICE[choice].names))


def _with(config: TrainConfig, options: Mapping[str, Any]) -> TrainConfig:
    """The config with the options, and without the parameters of what they replace."""
    changed = config.changed(options)
    kept = {
        choice: own
        for choice, own in changed.settings.items()
        if _chosen(config, choice) == _chosen(changed, choice)
    }
    return replace(changed, settings=kept)


def _chosen(config: TrainConfig, choice: str) -> str:
    """Name that a config has for a key of its settings."""
    if choice.startswith("encoder."):
        return config.encoder_of(choice.removeprefix("encoder."))
    name: str = getattr(config, choice)
    return name
