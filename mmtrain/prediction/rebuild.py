"""Builds the model of a run without its data: the config and `preparation.json` are enough.

A method changes the architecture in its ``setup``, which takes a run. Here that is a `BlankRun`,
which has a model and a task but no samples.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mmprep.assignments import Value
from mmtrain.config.run import TrainConfig
from mmtrain.errors import ConfigError
from mmtrain.methods import base
from mmtrain.methods.base import Method
from mmtrain.models.catalog import ENCODERS
from mmtrain.models.encoders import InputSize
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.catalog import TASKS
from mmtrain.tasks.task import Task
from mmtrain.training import saved_state
from mmtrain.training.data_facts import DataFacts
from mmtrain.training.device import place
from mmtrain.training.parts import config_of, method_of, model_for
from mmtrain.training.teacher import Teacher

# Reads the config of the run in a folder that a method learnt from.
ReadConfig = Callable[[Path], TrainConfig]


def rebuild(
    config: TrainConfig,
    facts: DataFacts,
    saved: Mapping[str, Any] | None,
    device: torch.device,
    read: ReadConfig = config_of,
) -> "BlankRun":
    """Builds the model of a `fitted` config, set up by its method, in eval mode.

    Args:
        config: Config of the run.
        facts: Facts about its data.
        saved: ``model`` and ``method`` of a checkpoint; None leaves both as they begin.
        device: Device of the model.
        read: Reader of the configs of teachers.

    Raises:
        ConfigError: The method looks at data in its ``setup``.
    """
    task = TASKS.target(facts.task).of(facts.annotations)
    # Laid out as in training, so that the same sums are made in the same order.
    model = place(model_for(without_files(config), _sizes(config, facts), task.outputs), device)
    # Abstract to mypy alone: what it does not define refuses, see the end of the file.
    run = BlankRun(config, facts, task, model, read)  # type: ignore[abstract]
    saved_state.setup(run, run.method, saved)
    model.requires_grad_(False).eval()
    return run


def _sizes(config: TrainConfig, facts: DataFacts) -> dict[str, InputSize]:
    if absent := [m for m in config.modalities if m not in facts.sizes]:
        raise ConfigError(f"the size of the input of {', '.join(absent)} is not known")
    return {m: facts.sizes[m] for m in config.modalities}


def without_files(config: TrainConfig) -> TrainConfig:
    """The config without files of weights, in the place of which the trained ones come."""
    settings = {**config.settings}
    if settings["encoder"].get("weights"):
        settings["encoder"] = {**settings["encoder"], "weights": None}
    for modality in config.modalities:
        encoder = ENCODERS.target(config.encoder_of(modality))
        own = encoder.without_files(config.encoder_settings(modality))
        settings[f"encoder.{modality}"] = cast("Mapping[str, Value]", own)
    return replace(config, settings=settings)


class BlankRun(base.Run):
    """A run as the ``setup`` of a method sees it, without data, optimizer and ranks.

    Args:
        config: Config of the run.
        facts: Facts about its data.
        task: Task of the run.
        model: Model, on its device.
        read: Reader of the configs of teachers.

    Attributes:
        config: Config, as given.
        facts: Facts, as given.
        method: Method of the run, as it is before its setup.
    """

    def __init__(
        self,
        config: TrainConfig,
        facts: DataFacts,
        task: Task,
        model: MultimodalModel,
        read: ReadConfig,
    ) -> None:
        self.config, self.facts, self.task, self.model = config, facts, task, model
        self.method: Method = method_of(config)
        self.device = next(model.parameters()).device
        self.seed, self.planned, self.epoch = config.seed, config.epochs, 0
        self.classes = task.classes(facts.annotations)
        self.generator = torch.Generator().manual_seed(config.seed)
        self._read = read

    @property
    def ids(self) -> NDArray[np.int64]:
        """No samples."""
        return np.empty(0, np.int64)

    @property
    def position(self) -> int:
        """Start of an epoch."""
        return 0

    @property
    def splits(self) -> Mapping[str, int]:
        """Splits that a method may ask for; trained runs had those that theirs needs."""
        return dict.fromkeys(("train", "val", "test"), 1)

    def adopt(self, part: nn.Module | nn.Parameter, rate: float = 1.0) -> None:
        """Moves a new part of the model to its device."""
        self.model.to(self.device)

    def set_rate(self, factor: float, *parts: nn.Module | nn.Parameter) -> None:
        """Does nothing, as there is no optimizer."""

    def snapshot(self, *modules: nn.Module) -> dict[str, Any]:
        """Copy of weights and statistics of ``modules``."""
        return saved_state.snapshot(self.model, None, modules)

    def teacher(self, folder: str | Path, *modalities: str) -> Teacher:
        """Model like that of another run, with other weights: those that were learnt come later."""
        config = replace(self._read(Path(folder)), device=self.config.device)
        other = rebuild(config, self.facts, None, self.device, self._read)
        return Teacher(model=other.model, method=other.method, classes=other.classes)


def _refusing(name: str) -> Any:
    def refuse(run: BlankRun, *_: Any, **__: Any) -> Any:
        raise ConfigError(
            f"{run.config.method} calls {name} of its run in `setup`, which needs the data of "
            "training: such a run predicts by `mmtrain eval` only"
        )

    return refuse


# Whatever is not above needs data or an optimizer.
for _name, _member in vars(base.Run).items():
    if callable(_member) and not _name.startswith("_") and _name not in vars(BlankRun):
        setattr(BlankRun, _name, _refusing(_name))
