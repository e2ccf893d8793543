"""What is compared: methods and curricula, each with the same seeds and the same chance to tune."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Final
from urllib.parse import quote

from mmtrain.config.overrides import changes, names_of, paired
from mmtrain.config.recipes import applied
from mmtrain.config.run import TrainConfig
from mmtrain.data import ShardedDataset
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.training.assemble import fitted

# What a comparison varies by itself, to the option that says how.
_VARIED: Final = {
    "method": "--methods",
    "curriculum": "--curriculum",
    "seed": "--seeds",
    "modalities": "--modalities",
}
_ALONE: Final = "joint"


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """One row of the table.

    Attributes:
        label: Its name, and its folder.
        config: `fitted`; with the first seed.
        grid: Setting, as text, to the config that it makes; empty if nothing is tuned.
    """

    label: str
    config: TrainConfig
    grid: dict[str, TrainConfig]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Who takes part.

    Attributes:
        base: What all have in common.
        methods: Names in METHODS.
        curricula: Names in CURRICULA; every method goes with each.
        seeds: Every entrant runs once with each. The first is that of tuning.
        alone: Whether `joint` on each single modality takes part too.
        settings: ``KEY=VALUE`` for all.
        settings_for: ``METHOD:KEY=VALUE`` for one method.
        tune: ``KEY=V1,V2,...``; the grid is their product.
        recipe: Name of a recipe, which may have values for each method.
        given: What of ``base`` goes before the recipe, as `TrainConfig.changed` takes it.
    """

    base: TrainConfig
    methods: Sequence[str]
    curricula: Sequence[str] = (TrainConfig.curriculum,)
    seeds: Sequence[int] = (TrainConfig.seed,)
    alone: bool = False
    settings: Sequence[str] = ()
    settings_for: Sequence[str] = ()
    tune: Sequence[str] = ()
    recipe: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what in ("methods", "curricula", "seeds"):
            given = getattr(self, what)
            if not given or len(set(given)) < len(given):
                said = ", ".join(map(str, given)) or "nothing"
                raise ConfigError(f"{what} are one or more, each once; got {said}")
        known = (*self.methods, *((_ALONE,) if self.alone else ()))
        for text in self.settings_for:
            method, colon, _ = text.partition(":")
            if not colon:
                raise ConfigError(f"--set-for takes METHOD:KEY=VALUE; got {text!r}")
            if method not in known:
                raise UnknownName("method of --methods", method, known)

    def entrants(self, dataset: ShardedDataset) -> list[Entrant]:
        """Everyone, in the order of the table.

        Raises:
            ConfigError: A setting that a method does not take, or a request that the data do not
                fit.
        """
        if self.tune and not dataset.splits.get("val"):
            raise ConfigError(f"{self.base.data}: no val split to choose settings on; drop --tune")
        base = replace(self.base, seed=self.seeds[0])
        configs = {
            method if len(self.curricula) == 1 else f"{method}+{curriculum}": replace(
                base, method=method, curriculum=curriculum
            )
            for method, curriculum in product(self.methods, self.curricula)
        }
        if self.alone:
            own = fitted(base, dataset).modalities
            joint = replace(base, method=_ALONE)
            configs = {f"{m}-alone": replace(joint, modalities=(m,)) for m in own} | configs
        return [self._entrant(label, config, dataset) for label, config in configs.items()]

    def _entrant(self, label: str, config: TrainConfig, dataset: ShardedDataset) -> Entrant:
        try:
            config = self._prescribed(paired(config))
            config = _with(config, (*self.settings, *self._own(config.method)))
            return Entrant(
                label=label,
                config=fitted(config, dataset),
                grid={
                    ",".join(texts): fitted(_with(config, texts), dataset) for texts in self._grid()
                },
            )
        except ConfigError as error:
            raise ConfigError(f"{label}: {error}") from error

    def _prescribed(self, config: TrainConfig) -> TrainConfig:
        """With the values of the recipe that nobody has given."""
        if self.recipe is None:
            return config
        found = applied(self.recipe, config).changed(self.given)
        return replace(found, modalities=config.modalities or found.modalities)

    def _own(self, method: str) -> list[str]:
        """Those of `settings_for` that are for ``method``."""
        parted = (text.partition(":") for text in self.settings_for)
        return [setting for name, _, setting in parted if name == method]

    def _grid(self) -> list[tuple[str, ...]]:
        """Settings of all that is tuned, each as texts ``KEY=VALUE``."""
        axes = []
        for text in self.tune:
            key, _, values = text.partition("=")
            axis = [f"{key.strip()}={v.strip()}" for v in values.split(",") if v.strip()]
            if not axis:
                raise ConfigError(f"--tune takes KEY=V1,V2,...; got {text!r}")
            axes.append(dict.fromkeys(axis))
        return list(product(*axes)) if axes else []


def folder_name(setting: str) -> str:
    """Name of the folder of a setting: its text, without what a path cannot hold."""
    return quote(setting, safe="=,")


def _with(config: TrainConfig, texts: Sequence[str]) -> TrainConfig:
    found = changes(texts, names_of(config))
    for name in found:
        if name in _VARIED:
            raise ConfigError(f"{name} cannot be set in a comparison; use {_VARIED[name]}")
    return config.changed(found)
