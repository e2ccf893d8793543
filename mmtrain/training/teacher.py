"""The trained model of another run, to learn from."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from mmtrain.config.run import TrainConfig
from mmtrain.data import ShardedDataset
from mmtrain.errors import ConfigError
from mmtrain.methods.base import Method
from mmtrain.modalities import SEQUENCE, TOKENS, modality
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import BEST
from mmtrain.training.parts import config_of, feed_of, fitted, method_of, model_of, task_of
from mmtrain.types import Batch, Outputs

_RESULT: Final = "result.json"  # Written by a run when it is finished.


@dataclass(frozen=True, kw_only=True, eq=False)
class Teacher:
    """A frozen model in eval mode, with its run's best weights.

    Attributes:
        model: Model.
        method: Method that predicts with it.
        classes: Class names in the order of their ids.
    """

    model: MultimodalModel
    method: Method
    classes: tuple[str, ...]

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Outputs:
        """Predictions for ``batch``, without gradients."""
        return self.method.predict(self.model, batch)


def load_teacher(
    folder: Path,
    modalities: tuple[str, ...],
    config: TrainConfig,
    dataset: ShardedDataset,
    generator: torch.Generator,
    make_run: Callable[..., AbstractContextManager[Any]],
) -> Teacher:
    """The model of the finished run in ``folder``.

    Args:
        folder: Folder of that run.
        modalities: Modalities that it must have.
        config: Config of the run that learns from it, whose data and device are used.
        dataset: Data set of that config.
        generator: Generator of the run that learns.
        make_run: Class of runs, handed in because its module imports this one.

    Raises:
        ConfigError: No finished run there, a modality is missing, here or there, or texts or
            sequences have other numbers or lengths there.
        DataError: It was trained on other data.
    """
    own = config_of(folder)
    if not (folder / _RESULT).exists():
        raise ConfigError(f"{folder} is no finished run; a teacher has been trained to its end")
    if lacking := [m for m in modalities if m not in own.modalities]:
        raise ConfigError(
            f"{folder} has no {', '.join(lacking)}; it was trained on {', '.join(own.modalities)}"
        )
    if unread := [m for m in own.modalities if m not in config.modalities]:
        raise ConfigError(
            f"{folder} needs {', '.join(unread)}, which this run does not read; add it to "
            "--modalities"
        )
    _require_same_steps(folder, own, config)
    own = replace(own, data=config.data, device=config.device, workers=config.workers)
    own_task, task = (task_of(each, dataset).name for each in (own, config))
    if own_task != task:
        raise ConfigError(f"{folder} was trained for {own_task}; a teacher of {task} is needed")
    # Making a run seeds the generators of the process, from which this run draws.
    before = checkpoint.generators(generator)
    try:
        own = fitted(own, dataset)
        method = method_of(own)
        feed = feed_of(own, dataset, method)
        with make_run(own, model_of(own, feed), method, feed, folder, file=BEST) as run:
            model = run.model
    finally:
        checkpoint.restore_generators(before, generator)
    model.requires_grad_(False)
    return Teacher(model=model.eval(), method=method, classes=run.classes)


def _require_same_steps(folder: Path, own: TrainConfig, config: TrainConfig) -> None:
    """Refuses a teacher to which the numbers of this run's tokens would mean other words."""
    names = {TOKENS: ("tokenizer", "length"), SEQUENCE: ("steps",)}
    for name in own.modalities:
        for field in names.get(modality(name).kind, ()):
            theirs, ours = (getattr(each.view, field) for each in (own, config))
            if field == "tokenizer":
                # By digest, so that a copy of the file is the same.
                alike = own.plugins.get(theirs, theirs) == config.plugins.get(ours, ours)
            else:
                alike = theirs == ours
            if not alike:
                raise ConfigError(
                    f"{folder} was trained with view.{field}={theirs}, and this run has {ours}; "
                    f"give both the same, for {name} is read once"
                )
