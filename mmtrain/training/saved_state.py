"""State of training: what a checkpoint holds of it, and how it is put back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmtrain.curricula.base import Curriculum
from mmtrain.methods.base import Method, Run
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.training import checkpoint
from mmtrain.training.batch_norm import allow_single_values
from mmtrain.training.device import copy_to
from mmtrain.training.optimizer import Optimizer
from mmtrain.training.schedule import Schedule


@dataclass(frozen=True)
class TrainingState:
    """The parts of a run that training changes.

    Attributes:
        model: Weights and statistics.
        method: Whatever the method remembers.
        optimizer: Momentum and moments, and factors on the rate.
        schedule: State of the learning rate.
        curriculum: Scores of the samples.
        generator: The run's own generator; those of the process belong to the state, too.
    """

    model: MultimodalModel
    method: Method
    optimizer: Optimizer
    schedule: Schedule
    curriculum: Curriculum
    generator: torch.Generator

    def state_dict(self) -> dict[str, Any]:
        """Name to state of each part; tensors are not copied."""
        memory = self.curriculum.memory
        return {
            "model": self.model.state_dict(),
            "method": self.method.state_dict(),
            "scores": memory.state_dict() if memory else {},
            "optimizer": self.optimizer.state_dict(),
            "rates": self.optimizer.factors(),
            "schedule": dict(self.schedule.state_dict()),
            "generators": checkpoint.generators(self.generator),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Puts back the parts that `setup` does not: all but model and method."""
        self.optimizer.load_state_dict(saved["optimizer"])
        self.optimizer.load_factors(saved.get("rates", {}))  # Added after the first format.
        self.schedule.load_state_dict(saved["schedule"])
        if self.curriculum.memory is not None:
            self.curriculum.memory.load_state_dict(saved["scores"])
        checkpoint.restore_generators(saved["generators"], self.generator)

    def copy(self) -> dict[str, Any]:
        """A copy that training does not change, for `put_back` in the same process."""
        frozen = [name for name, p in self.model.named_parameters() if not p.requires_grad]
        return {**copied(self.state_dict()), "frozen": frozen}

    def put_back(self, before: Mapping[str, Any]) -> None:
        """Brings every part to the state of a `copy`, bit for bit."""
        self.model.load_state_dict(before["model"])
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in before["frozen"])
        self.method.load_state_dict(before["method"])
        self.optimizer.clear()
        self.load_state_dict(before)


def setup(run: Run, method: Method, saved: Mapping[str, Any] | None) -> None:
    """Lets ``method`` set up the model of ``run``; both then hold what was saved.

    Args:
        run: Run whose optimizer does not exist yet.
        method: Method of the run.
        saved: Checkpoint; None starts from the beginning.
    """
    # Twice: what is built may depend on the state (AUG grows as many classifiers as it had), and
    # building may set it for the first time (IGM's projections).
    if saved is not None:
        method.load_state_dict(copy_to(run.device, saved["method"]))
    method.setup(run)
    if saved is not None:
        method.load_state_dict(copy_to(run.device, saved["method"]))
        run.model.load_state_dict(saved["model"])
    allow_single_values(run.model)


def snapshot(
    model: nn.Module, optimizer: Optimizer | None, parts: Sequence[nn.Module]
) -> dict[str, Any]:
    """Copy of weights, statistics and optimizer state of ``parts``; of all, without any."""
    wanted = _names(model, parts or [model])
    states = optimizer.state_dict() if optimizer else {}
    copy: dict[str, Any] = copied(
        {
            "model": {n: v for n, v in model.state_dict().items() if n in wanted},
            "optimizer": {n: s for n, s in states.items() if n in wanted},
        }
    )
    return copy


def restore(model: nn.Module, optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Puts back a `snapshot`, and leaves all else as it is.

    Raises:
        ValueError: The model has no parameter or statistic of a saved name.
    """
    weights = saved["model"]
    if strange := sorted(set(weights) - set(model.state_dict())):
        raise ValueError(f"the model has no {', '.join(strange)}, of which there is a snapshot")
    model.load_state_dict(weights, strict=False)
    others = {n: s for n, s in optimizer.state_dict().items() if n not in weights}
    optimizer.load_state_dict({**others, **saved["optimizer"]})


def copied(value: Any) -> Any:
    """Copy of plain containers and the tensors in them."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: copied(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(copied(each) for each in value)
    return value


def _names(model: nn.Module, parts: Sequence[nn.Module]) -> set[str]:
    """Names in ``model`` of the parameters and statistics of its ``parts``."""
    own = {id(v) for part in parts for v in part.state_dict(keep_vars=True).values()}
    return {n for n, v in model.state_dict(keep_vars=True).items() if id(v) in own}
