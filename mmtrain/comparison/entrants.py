"""Entrants of a comparison: methods and curricula, with the same seeds and the same tuning grid."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final
from urllib.parse import quote

from mmtrain import plugins
from mmtrain.comparison.evaluations import Evaluations
from mmtrain.comparison.presentation import Presentation
from mmtrain.comparison.rows import ALONE
from mmtrain.config.overrides import overrides
from mmtrain.config.request import Request
from mmtrain.config.run import TrainConfig
from mmtrain.data import ShardedDataset
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.methods.catalog import METHODS
from mmtrain.names import canonical
from mmtrain.training.parts import fitted, task_of

# Fields that a comparison varies by itself, to the option that sets how.
_VARIED: Final = {
    "method": "--methods",
    "curriculum": "--curriculum",
    "seed": "--seeds",
    "modalities": "--modalities",
}
_JOINT: Final = "joint"
# Keys of a variant that are options of a run; all others are settings.
OPTIONS: Final = ("method", "curriculum", "fusion", "encoder", "modalities")


_PLAIN: Final = Presentation()


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """One row of the table.

    Attributes:
        label: Name of the entrant and of its folder.
        config: Its `fitted` config with the first seed.
        grid: Setting, as text, to its config; empty if nothing is tuned.
    """

    label: str
    config: TrainConfig
    grid: dict[str, TrainConfig]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Request for a comparison.

    Attributes:
        base: Config that all entrants share.
        methods: Names in METHODS, or plug-ins.
        variants: Label to the options and settings of an entrant of its own, in the place of
            ``methods`` and ``curricula``.
        curricula: Names in CURRICULA, or plug-ins; every method is combined with each.
        seeds: Seeds with which every entrant runs once each; tuning uses the first.
        alone: Whether `joint` on each single modality takes part too.
        settings: Texts ``KEY=VALUE`` for all entrants.
        settings_for: Texts ``METHOD:KEY=VALUE`` for one method each.
        tune: Texts ``KEY=V1,V2,...``; the grid is their product.
        baseline: Label of the entrant that all others are compared with.
        baselines: Label to that of another entrant that it is compared with instead.
        recipe: Name of a recipe, which may have values for each method.
        budget: One of `mmtrain.config.recipes.BUDGETS`: whether all have the epochs, batch, rate
            and view of the recipe, or each those of its authors where the recipe has them.
        given: Options that override the recipe, as `Request` takes them.
        study: Text of the file that describes it, which is kept beside its results; empty for none.
        shown: Presentation of its outputs besides the table of its rows.
        evaluations: Measurements of every run besides its result.
    """

    base: TrainConfig
    methods: Sequence[str] = ()
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    curricula: Sequence[str] = (TrainConfig.curriculum,)
    seeds: Sequence[int] = (TrainConfig.seed,)
    alone: bool = False
    settings: Sequence[str] = ()
    settings_for: Sequence[str] = ()
    tune: Sequence[str] = ()
    baseline: str = _JOINT
    baselines: Mapping[str, str] = field(default_factory=dict)
    recipe: str | None = None
    budget: str = "equal"
    given: Mapping[str, Any] = field(default_factory=dict)
    study: str = ""
    shown: Presentation = _PLAIN
    evaluations: Evaluations = field(default_factory=Evaluations)

    def __post_init__(self) -> None:
        for name in ("curricula", "seeds") if self.variants else ("methods", "curricula", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                shown = ", ".join(map(str, values)) or "nothing"
                raise ConfigError(f"{name} are one or more, each once; got {shown}")
        labels = [plugins.label(method) for method in self.methods]
        if len(set(labels)) < len(labels):
            raise ConfigError(f"two methods have the same name: {', '.join(self.methods)}")
        known = (*labels, *((_JOINT,) if self.alone else ()))
        for text in self.settings_for:
            method, setting = _method_and_setting(text)
            if not setting:
                raise ConfigError(f"--set-for takes METHOD:KEY=VALUE; got {text!r}")
            if method not in known:
                raise UnknownName("method of --methods", method, known)

    def entrants(self, dataset: ShardedDataset) -> list[Entrant]:
        """All entrants, in the order of the table.

        Raises:
            ConfigError: A setting that a method does not take, or a request that does not fit the
                data.
        """
        if self.tune and not dataset.splits.get("val"):
            raise ConfigError(f"{self.base.data}: no val split to choose settings on; drop --tune")
        options = self._variants()
        if self.alone:
            own = fitted(self._config({"method": _JOINT}), dataset).modalities
            joint = {"method": _JOINT, "curriculum": self.base.curriculum}
            options = {f"{m}{ALONE}": {**joint, "modalities": (m,)} for m in own} | options
        entrants = [self._entrant(label, own, dataset) for label, own in options.items()]
        self.shown.require_task(task_of(entrants[0].config, dataset))
        return entrants

    def _variants(self) -> dict[str, Mapping[str, Any]]:
        """Label to the options and settings of each entrant."""
        if self.variants:
            return {**self.variants}
        return {
            plugins.label(method)
            if len(self.curricula) == 1
            else f"{plugins.label(method)}+{plugins.label(curriculum)}": {
                "method": method,
                "curriculum": curriculum,
            }
            for method, curriculum in product(self.methods, self.curricula)
        }

    def _entrant(self, label: str, variant: Mapping[str, Any], dataset: ShardedDataset) -> Entrant:
        options = {key: value for key, value in variant.items() if key in OPTIONS}
        own = [setting_text(key, value) for key, value in variant.items() if key not in OPTIONS]
        try:
            config = self._config(options)
            texts = (*self.settings, *self._settings_of(plugins.label(config.method)), *own)
            config = _override(config, texts)
            return Entrant(
                label=label,
                config=fitted(config, dataset),
                grid={
                    ",".join(texts): fitted(_override(config, texts), dataset)
                    for texts in self._grid()
                },
            )
        except ConfigError as error:
            raise ConfigError(f"{label}: {error}") from error

    def _config(self, options: Mapping[str, Any]) -> TrainConfig:
        """Config of an entrant without its settings: what is given, options, and the recipe."""
        own = {**self.given, "seed": self.seeds[0], **options}
        return Request(options=own, recipe=self.recipe, budget=self.budget).config(self.base)

    def _settings_of(self, method: str) -> list[str]:
        """Settings for ``method`` alone, without its name."""
        pairs = map(_method_and_setting, self.settings_for)
        return [setting for name, setting in pairs if name == method]

    def _grid(self) -> list[tuple[str, ...]]:
        """Points of the tuning grid, each as texts ``KEY=VALUE``."""
        axes = []
        for text in self.tune:
            key, _, values = text.partition("=")
            axis = [f"{key.strip()}={v.strip()}" for v in values.split(",") if v.strip()]
            if not axis:
                raise ConfigError(f"--tune takes KEY=V1,V2,...; got {text!r}")
            axes.append(dict.fromkeys(axis))
        return list(product(*axes)) if axes else []


def setting_text(key: str, value: object) -> str:
    """Text of ``--set`` for a value of a TOML file."""
    if isinstance(value, list):
        return f"{key}={','.join(map(str, value))}"
    return f"{key}={str(value).lower() if isinstance(value, bool) else value}"


def folder_name(setting: str) -> str:
    """Name of a setting's folder: its text, with characters that a path cannot hold quoted."""
    return quote(setting, safe="=,")


def seeds_of(texts: Sequence[str]) -> list[int]:
    """Seeds from texts such as ``3`` or the range ``0-2``, which is 0, 1 and 2.

    Raises:
        ConfigError: A text of another form.
    """
    seeds: list[int] = []
    for text in texts:
        match = re.fullmatch(r"(-?\d+)(?:-(\d+))?", text)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise ConfigError(f"--seeds takes numbers such as 0,1,2 or the range 0-2; got {text!r}")
        seeds += range(int(match[1]), int(match[2] or match[1]) + 1)
    return seeds


def _method_and_setting(text: str) -> tuple[str, str]:
    """The two sides of ``METHOD:KEY=VALUE``; the second is empty in a text of another form."""
    method, _, setting = text.partition(":")
    return canonical(method, METHODS.names), setting


def _override(config: TrainConfig, texts: Sequence[str]) -> TrainConfig:
    values = overrides(texts, config)
    for name in values:
        if name in _VARIED:
            raise ConfigError(f"{name} cannot be set in a comparison; use {_VARIED[name]}")
    return config.changed(values)
