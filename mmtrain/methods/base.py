"""What a method is, and what it sees of the run that carries it out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmtrain.fields import check_fields
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs


@runtime_checkable
class Run(Protocol):
    """What a method may use; `mmtrain.training.run.Run` carries it out.

    Attributes:
        model: In training mode during a step; on `device`.
        device: Where batches and model are.
        seed: Of the run.
        classes: Class names in the order of their ids.
        task: Losses, confidence and measures of the targets; no method names a loss itself.
        epoch: The epoch that is trained, from 0.
        planned: Epochs of the whole run.
        generator: For whatever a method draws, on the CPU; saved. It is the same on all ranks, so
            each must draw equally often from it; for what is drawn by sample there is `draws`.
    """

    model: MultimodalModel
    device: torch.device
    seed: int
    classes: tuple[str, ...]
    task: Task
    epoch: int
    planned: int
    generator: torch.Generator

    @property
    def position(self) -> int:
        """Visits of the epoch that are done, 0 at its start.

        A run that resumes inside an epoch enters the body of `epochs` with more than 0: what
        belongs before the first step has then been done, and is saved.
        """

    def epochs(self) -> Iterator[int]:
        """The epochs that are left; evaluates, steps the schedule, logs, saves after each body."""

    def train_epoch(self, method: "Method") -> None:
        """``method.step`` on what is left of the epoch's order; once in a body of `epochs`."""

    def update(self, loss: Tensor) -> AbstractContextManager[None]:
        """One update by ``loss``: zero, backward | the body | average over ranks, clip, step.

        The body may edit the gradients of this rank in place; autograd is off there. Parameters
        that ``loss`` does not reach have no gradient and stay as they are. An edit that is no
        product with a number known to all ranks (noise, a mask made from gradients) belongs behind
        `agree`.
        """

    def agree(self) -> None:
        """In the body of `update`: averages the gradients over ranks now, not at its end.

        What is edited afterwards must be edited alike on all ranks.
        """

    def minimise(self, loss: Tensor) -> None:
        """`update` with nothing to edit."""

    def gradients(self, loss: Tensor, *modules: nn.Module) -> list[Tensor]:
        """Gradient of ``loss`` for each trainable parameter of ``modules``, in their order.

        Those of this rank, see `average`; zeros where ``loss`` does not reach. Changes no
        ``.grad``; ``loss`` can be used again.
        """

    def average(self, values: Sequence[Tensor], batch: Batch | None = None) -> None:
        """Replaces means over this rank's samples by means over the samples of all, in place.

        The samples are those of the step, or else of ``batch``: this rank's share of another one.
        """

    def together(self, rows: Tensor) -> Tensor:
        """(N, ...) the rows of all ranks, in the order of the undivided batch.

        For a loss that is no mean over single samples. Each rank computes it of all rows, and the
        gradient of `update` is then the one of a single rank; it flows to the rows of this rank.

        Args:
            rows: (b, ...) one of each sample of the step's batch.
        """

    def score(self, fn: Callable[[Batch], Tensor], split: str = "train") -> Tensor:
        """(n, ...) what ``fn`` says of each sample of ``split``, in the order of its ids, float32.

        Eval mode, no gradients, no chance, each sample once.
        """

    def batches(self, split: str) -> Iterator[Batch]:
        """This rank's share of one pass over ``split``, in the view of evaluation.

        In the order of ids; each sample is seen by one rank. Ranks may have unequal numbers of
        batches, so nothing may be added up over ranks before the pass is over.
        """

    def held_out(self) -> Batch:
        """This rank's share of a batch, drawn anew, of the samples that `Method.holds_out`.

        In the view of evaluation.
        """

    def draws(self, *shape: int) -> Tensor:
        """(b, *shape) uniform numbers in [0, 1), a row for each sample of the step's batch.

        On `device`. From `generator`, and a sample has the same however many ranks there are.
        """

    def observe(self, out: Outputs, batch: Batch) -> None:
        """Shows a curriculum that scores on the way what the model said of the step's batch.

        Once a step, before the update, by every method that has such outputs.
        """

    def adopt(self, module: nn.Module) -> None:
        """Moves a new part of `model` to its device and lets the optimizer update it.

        Raises:
            ValueError: It is no part of the model, so that no checkpoint would hold it.
        """

    def renew_optimizer(self, *modules: nn.Module) -> None:
        """Forgets momentum and moments of ``modules``; of all, without any."""

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the samples of all ranks of what is a mean over those of this one."""

    def sum(self, value: Tensor) -> Tensor:
        """The sum over the samples of all ranks of what is a sum over those of this one."""

    def log(self, **scalars: float | Tensor) -> None:
        """Adds to the epoch's line of the metrics: each name's mean over the epoch and the ranks.

        Every rank logs the same names.
        """


def state(default: Any = None, *, default_factory: Callable[[], Any] | None = None) -> Any:
    """A field that a method remembers: no hyper-parameter, and saved in checkpoints.

    Its value is made of tensors, numbers, strings, lists and dicts.

    Example:
        >>> @dataclass(kw_only=True, eq=False)
        ... class Remembers(Method):
        ...     strength: float = 1.0
        ...     shares: dict[str, float] = state(default_factory=dict)
    """
    if default_factory is not None:
        return field(init=False, default_factory=default_factory, metadata={"state": True})
    return field(init=False, default=default, metadata={"state": True})


@dataclass(kw_only=True, eq=False)
class Method:
    """Plain joint training: the cross-entropy of the fused logits.

    ``L = CE(f, y)``, or the loss of another task. Subclasses override the smallest scope that their
    paper changes.
    """

    def __post_init__(self) -> None:
        """Checks the hyper-parameters whose fields say what they take, see `mmtrain.fields`."""
        check_fields(self)

    @property
    def holds_out(self) -> int:
        """Samples of the train split that epochs leave out, for `Run.held_out`."""
        return 0

    def setup(self, run: Run) -> None:
        """Changes the architecture, before the optimizer exists; `Run.adopt` what is new.

        In a resumed run the state is there already: build what it calls for. It is put back
        afterwards, so `setup` may also set it for the first time.
        """

    def fit(self, run: Run) -> None:
        """The outer loop."""
        for _ in run.epochs():
            run.train_epoch(self)

    def step(self, run: Run, batch: Batch) -> None:
        """The inner loop: what one batch does."""
        out = run.model(batch)
        run.observe(out, batch)
        with run.update(self.loss(run, out, batch)):
            self.modulate(run, out, batch)

    def loss(self, run: Run, out: Outputs, batch: Batch) -> Tensor:
        """Loss that is minimised: a mean over the samples of ``batch``, all of which are real."""
        return self.sample_losses(run.task, out, batch.target).mean()

    def sample_losses(
        self, task: Task, out: Outputs, target: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Loss of each sample, by which curricula score it."""
        return task.losses(out.fused, target)

    def modulate(self, run: Run, out: Outputs, batch: Batch) -> None:
        """Edits gradients between backward and update."""

    def predict(self, model: MultimodalModel, batch: Batch) -> Outputs:
        """Predictions of the trained model."""
        return model(batch)

    def predict_trained(self, model: MultimodalModel, batch: Batch) -> Outputs:
        """Outputs as they are trained, for `sample_losses` outside of steps.

        Those of `predict`, unless it puts other logits in the place of the fused.
        """
        return self.predict(model, batch)

    def state_dict(self) -> dict[str, Any]:
        """Name to value of what the method remembers."""
        return {name: getattr(self, name) for name in self._states()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave."""
        for name in self._states():
            setattr(self, name, saved[name])

    def _states(self) -> Iterable[str]:
        return [f.name for f in fields(self) if f.metadata.get("state")]
