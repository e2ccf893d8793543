"""The work within a step: from a loss to gradients, over all ranks, to an update."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmtrain.config.run import OptimizerConfig
from mmtrain.models.encoders import Encoder
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.training import saved_state
from mmtrain.training.device import copy_ahead, full_precision
from mmtrain.training.failures import Failures
from mmtrain.training.loss_log import Losses
from mmtrain.training.metrics_log import Meter
from mmtrain.training.optimizer import Optimizer
from mmtrain.training.passes import evaluating
from mmtrain.training.ranks import Ranks
from mmtrain.types import Batch


class Stepping:
    """The half of a run that methods use within a step, see `mmtrain.methods.base.Run`.

    Args:
        model: Model, on ``device``.
        device: Device that computes.
        seed: Seed of `generator`.
        batch_size: Number of samples of a step, of all ranks together.
        ranks: Processes that train together.
        failures: Errors of losses that are not finite.

    Attributes:
        model: Model, as given.
        device: Device, as given.
        generator: Generator for random draws of methods; the same on all ranks. On the CPU, because
            what a GPU draws depends on its kind, and because its state is saved without waiting.
        epoch: Epoch that is being trained, from 0.
        steps: Number of steps since the first epoch.
        stopping: Flag; set it to save and raise `Interrupted` after the step in progress.
    """

    def __init__(
        self,
        model: MultimodalModel,
        device: torch.device,
        seed: int,
        batch_size: int,
        ranks: Ranks,
        failures: Failures,
    ) -> None:
        self.model, self.device, self._ranks = model, device, ranks
        self.generator = torch.Generator().manual_seed(seed)
        self.epoch = self.steps = 0
        self.stopping = self._averaged = False
        self._batch_size, self._failures = batch_size, failures
        self._batch: Batch | None = None
        self._ids: Tensor | None = None
        self._weight = 1  # Samples for which this rank stands.
        self._losses, self._meter = Losses(device), Meter()
        self._optimizer: Optimizer | None = None
        # Factors that setup() asks for, before there is an optimizer.
        self._factors: dict[nn.Parameter, float] = {}

    @contextmanager
    def update(self, loss: Tensor) -> Iterator[None]:
        optimizer, ids = self._made(), self._ids
        # The loss of fillers is nobody's.
        if ids is None or len(ids):
            self._losses.add(loss, ids, self.steps)
        if self._losses.many:
            self._settle()
        optimizer.clear()
        # Backward takes the precision that forward had; autocast itself is not for it.
        with full_precision(self.device):
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        with torch.no_grad():
            self._averaged = False
            yield
            self.average_gradients()
            optimizer.step()

    def average_gradients(self) -> None:
        if not (self._averaged or self._ranks.alone):
            gradients = self._made().gradients()
            self._ranks.average(gradients, self._weight)
        self._averaged = True

    def minimise(self, loss: Tensor) -> None:
        with self.update(loss):
            pass

    def gradients(self, loss: Tensor, *modules: nn.Module) -> list[Tensor]:
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        if not parameters:
            return []
        with full_precision(self.device):
            reached = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return [
            torch.zeros_like(p) if gradient is None else gradient
            for p, gradient in zip(parameters, reached, strict=True)
        ]

    def average(self, values: Sequence[Tensor], batch: Batch | None = None) -> None:
        with torch.no_grad():
            self._ranks.average(values, self._weight if batch is None else _real(batch))

    def gather_rows(self, rows: Tensor) -> Tensor:
        return self._ranks.gather_rows(rows, self._weight)

    def draws(self, *shape: int) -> Tensor:
        numbers = torch.rand((self._batch_size, *shape), generator=self.generator)
        rows = len(numbers) if self._batch is None else len(self._batch)
        return copy_ahead(self._ranks.rows(numbers, rows), self.device)

    def adopt(self, part: nn.Module | nn.Parameter, rate: float = 1.0) -> None:
        own = {*self.model.parameters()}
        parameters = _parameters(part)
        if not all(parameter in own for parameter in parameters):
            raise ValueError(
                "a module that joins must be part of run.model, or no checkpoint would hold it; "
                "assign it to the model first"
            )
        if isinstance(part, nn.Module):
            part.to(self.device)
        else:
            part.data = part.data.to(self.device)
        if self._optimizer is not None:
            self._optimizer.adopt(parameters, rate)
        elif rate != 1:
            self._factors.update(dict.fromkeys(parameters, rate))

    def set_rate(self, factor: float, *parts: nn.Module | nn.Parameter) -> None:
        by_factor: dict[float, list[nn.Parameter]] = {}
        own = encoder_rates(self.model)
        for part in parts or (self.model,):
            for parameter in _parameters(part):
                by_factor.setdefault(factor * own.get(parameter, 1.0), []).append(parameter)
        for each, parameters in by_factor.items():
            if self._optimizer is None:
                self._factors.update(dict.fromkeys(parameters, each))
            else:
                self._optimizer.set_factor(each, parameters)

    def _make_optimizer(self, config: OptimizerConfig) -> Optimizer:
        """Makes the optimizer of the model as it is, with the factors on its rates."""
        return Optimizer(self.model, config, encoder_rates(self.model) | self._factors)

    def renew_optimizer(self, *modules: nn.Module) -> None:
        for module in modules or (self.model,):
            self._made().renew(module.parameters())

    def snapshot(self, *modules: nn.Module) -> dict[str, Any]:
        return saved_state.snapshot(self.model, self._optimizer, modules)

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        saved_state.restore(self.model, self._made(), snapshot)

    def evaluating(self) -> AbstractContextManager[None]:
        return evaluating(self.model)

    def mean(self, value: Tensor) -> Tensor:
        average = value.detach().clone()
        self.average([average])
        return average

    def sum(self, value: Tensor) -> Tensor:
        # A batch of fillers only repeats what another rank has.
        return self._ranks.sum(value.detach() if self._weight else torch.zeros_like(value))

    def log(self, **scalars: float | Tensor) -> None:
        for name, value in scalars.items():
            self._losses.log(name, value)

    def optimizer_state(self) -> dict[str, dict[str, Tensor]]:
        """Parameter name to momentum or moments, of the parameters that were ever updated."""
        return self._made().state_dict()

    def rates(self) -> dict[str, float]:
        """Parameter name to learning rate, of all parameters that the optimizer updates."""
        return self._made().rates()

    def _settle(self) -> None:
        """Counts the losses of the last updates, and what was logged.

        Raises:
            RunError: A loss is not finite.
        """
        for value, step, ids in self._losses.settle(self._meter):
            raise self._failures.loss(value, step, self.epoch, ids)

    def _made(self) -> Optimizer:
        if self._optimizer is None:
            raise RuntimeError("the optimizer does not exist before setup() is done")
        return self._optimizer

    def _hold(self, batch: Batch) -> Tensor:
        """Begins the step of ``batch``, in memory of the CPU; returns the ids that are real."""
        ids = batch.ids[~batch.filler]
        # Looked up several times a step.
        self._batch, self._ids, self._weight = batch, ids, len(ids)
        return ids

    def _release(self) -> None:
        """Ends the step; between steps, all ranks are equal."""
        self._batch, self._ids, self._weight = None, None, 1


def encoder_rates(model: MultimodalModel) -> dict[nn.Parameter, float]:
    """Parameter to its encoder's factor on the learning rate, where that is not 1."""
    encoders = (cast("Encoder", encoder) for encoder in model.encoders.values())
    return {p: e.rate for e in encoders if e.rate != 1 for p in e.parameters()}


def _parameters(part: nn.Module | nn.Parameter) -> list[nn.Parameter]:
    return [part] if isinstance(part, nn.Parameter) else list(part.parameters())


def _real(batch: Batch) -> int:
    """Samples of the batch that are no fillers."""
    return int((~batch.filler).sum())
