"""What happens within a step: loss to gradients, over all ranks, to an update."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mmtrain.models.multimodal import MultimodalModel
from mmtrain.training.loss_log import Losses
from mmtrain.training.optimizer import Optimizer
from mmtrain.training.ranks import Ranks
from mmtrain.types import Batch


class Stepping:
    """The half of a run that methods use within a step, see `mmtrain.methods.base.Run`.

    Args:
        model: On ``device``.
        device: Where to compute.
        seed: Of `generator`.
        batch_size: Of all ranks together.
        ranks: The processes that train together.

    Attributes:
        model: As given.
        device: As given.
        generator: For what methods draw, on the CPU; the same on all ranks.
        steps: Steps since the first epoch.
        stopping: Set it to save and raise `Interrupted` after the step in progress.
    """

    def __init__(
        self,
        model: MultimodalModel,
        device: torch.device,
        seed: int,
        batch_size: int,
        ranks: Ranks,
    ) -> None:
        self.model, self.device, self._ranks = model, device, ranks
        self.generator = torch.Generator().manual_seed(seed)
        self.steps = 0
        self.stopping = self._agreed = False
        self._batch_size = batch_size
        self._batch: Batch | None = None
        self._losses = Losses(device)
        self._optimizer: Optimizer | None = None

    @contextmanager
    def update(self, loss: Tensor) -> Iterator[None]:
        optimizer = self._made()
        ids = None if self._batch is None else self._batch.ids[~self._batch.filler]
        # The loss of fillers is nobody's.
        if ids is None or len(ids):
            self._losses.add(loss, ids, self.steps)
        if self._losses.many:
            self._settle()
        optimizer.clear()
        # Backward takes the precision that forward had; autocast itself is not for it.
        with torch.autocast(self.device.type, enabled=False):
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        with torch.no_grad():
            self._agreed = False
            yield
            self.agree()
            optimizer.step()

    def agree(self) -> None:
        if not self._agreed:
            gradients = self._made().gradients()
            self._ranks.average(gradients, self._weight)
            self._agreed = True

    def minimise(self, loss: Tensor) -> None:
        with self.update(loss):
            pass

    def gradients(self, loss: Tensor, *modules: nn.Module) -> list[Tensor]:
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        if not parameters:
            return []
        with torch.autocast(self.device.type, enabled=False):
            found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return [
            torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)
        ]

    def average(self, values: Sequence[Tensor], batch: Batch | None = None) -> None:
        with torch.no_grad():
            self._ranks.average(values, self._weight if batch is None else _real(batch))

    def together(self, rows: Tensor) -> Tensor:
        return self._ranks.gather_rows(rows, self._weight)

    def draws(self, *shape: int) -> Tensor:
        numbers = torch.rand((self._batch_size, *shape), generator=self.generator)
        rows = len(numbers) if self._batch is None else len(self._batch)
        return self._ranks.rows(numbers, rows).to(self.device)

    def adopt(self, module: nn.Module) -> None:
        module.to(self.device)
        own = {*self.model.parameters()}
        if not all(parameter in own for parameter in module.parameters()):
            raise ValueError(
                "a module that joins must be part of run.model, or no checkpoint would hold it; "
                "assign it to the model first"
            )
        if self._optimizer is not None:
            self._optimizer.adopt(module.parameters())

    def renew_optimizer(self, *modules: nn.Module) -> None:
        for module in modules or (self.model,):
            self._made().renew(module.parameters())

    def mean(self, value: Tensor) -> Tensor:
        found = value.detach().clone()
        self.average([found])
        return found

    def sum(self, value: Tensor) -> Tensor:
        # A batch of fillers only repeats what another rank has.
        return self._ranks.sum(value.detach() if self._weight else torch.zeros_like(value))

    def log(self, **scalars: float | Tensor) -> None:
        for name, value in scalars.items():
            self._losses.log(name, value)

    def _settle(self) -> None:
        """Counts the losses of the last updates."""
        raise NotImplementedError

    def _made(self) -> Optimizer:
        if self._optimizer is None:
            raise RuntimeError("the optimizer does not exist before setup() is done")
        return self._optimizer

    @property
    def _weight(self) -> int:
        """Samples of the step for which this rank stands; outside of steps, all ranks are equal."""
        return 1 if self._batch is None else _real(self._batch)


def _real(batch: Batch) -> int:
    """Samples of the batch that are no fillers."""
    return int((~batch.filler).sum())
