"""The interface between methods and the run: `Method` is subclassed, `Run` is called."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias, overload, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from mmtrain.fields import check_fields
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.needs import Needs
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs

IDs: TypeAlias = Tensor | NDArray[np.int64]


@runtime_checkable
class Trial(Protocol):
    """Figures of the epochs of a trial, see `Run.trial`."""

    @property
    def train_loss(self) -> float:
        """Mean training loss of the last epoch of the trial."""

    def measured(self, split: str = "val") -> dict[str, Any] | None:
        """Measures after the last epoch of the trial; None before it, or without such a split."""


@runtime_checkable
class Teacher(Protocol):
    """Another run's trained model: frozen, in eval mode, with its best weights."""

    @property
    def model(self) -> MultimodalModel:
        """Model of that run, on the device of this one."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, the same as this run's."""

    def __call__(self, batch: Batch) -> Outputs:
        """Predictions of that run's method for ``batch``, without gradients."""


@runtime_checkable
class Run(Protocol):
    """The run as a method sees it; `mmtrain.training.run.Run` implements it.

    Attributes:
        model: Model that is trained, on `device`; in training mode during a step.
        device: Device of model and batches.
        seed: Seed of the run.
        classes: Class names in the order of their ids.
        task: Losses, confidence and measures of the targets; no method names a loss itself.
        epoch: Epoch that is being trained, from 0.
        planned: Number of epochs of the whole run.
        generator: Generator for random draws of a method, on the CPU and saved. It is the same on
            all ranks, so each rank must draw equally often from it; `draws` draws by sample.
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
    def ids(self) -> NDArray[np.int64]:
        """Ids (n,) of the samples that epochs are made of, ascending, see `score`."""

    @property
    def splits(self) -> Mapping[str, int]:
        """Split to its number of samples; a data set may lack ``val``."""

    # Epochs.

    @property
    def position(self) -> int:
        """Number of visits of the epoch that are done, 0 at its start.

        A run that resumes inside an epoch enters the body of `epochs` with more than 0: whatever
        belongs before the first step has been done then, and is saved.
        """

    def epochs(self) -> Iterator[int]:
        """Yields the epochs that are left; evaluates, logs and saves after each body."""

    def train_epoch(self, method: "Method") -> None:
        """Calls ``method.step`` on each batch that is left of the epoch.

        Once in a body of `epochs`; as often as wanted within `trial`, an epoch each time.
        """

    def trial(self) -> AbstractContextManager[Trial]:
        """Trains epochs that do not count: afterwards the run is bit for bit as it was before.

        Weights, statistics, optimizer, rates, schedule, generators, the method's state, position
        and epoch are put back; keep results in local variables, and set the state behind the block.
        Inside, `epoch` goes on counting, with the learning rate. Trials are no candidates for the
        best weights; their lines in metrics.jsonl have a ``"trial"``.

        No checkpoint is written inside: a run that is killed there goes on from the checkpoint
        before it, and does the whole trial again. So whether a trial is due may depend on state
        that is saved, on `epoch` and on `position`, and on nothing else.

        Example:
            >>> with run.trial() as trial:
            ...     run.train_epoch(self)
            ...     loss = trial.measured("val")["loss"]

        Raises:
            RuntimeError: Within a step or another trial.
        """

    def measured(self, split: str = "val") -> dict[str, Any] | None:
        """Measures of the last evaluation on ``split``, without a new pass; None before the first.

        After each epoch the run has evaluated ``val``: `Task.measured` and ``loss`` of the fused
        logits, the same by modality under ``modalities``, and, where the task has probabilities,
        the discrepancy ``rho.<modality>``. Saved, so a resumed run knows them.
        """

    # Updates.

    def update(self, loss: Tensor) -> AbstractContextManager[None]:
        """One update by ``loss``: zero, backward | the body | average over ranks, clip, step.

        The body may edit the gradients of this rank in place; autograd is off there. Parameters
        that ``loss`` does not reach have no gradient and stay as they are. An edit that is no
        product with a number known to all ranks (noise, a mask made from gradients) belongs behind
        `average_gradients`.
        """

    def average_gradients(self) -> None:
        """In the body of `update`: averages over ranks now; later edits must be alike on all."""

    def minimise(self, loss: Tensor) -> None:
        """`update` with nothing to edit."""

    def gradients(self, loss: Tensor, *modules: nn.Module) -> list[Tensor]:
        """Gradient of ``loss`` for each trainable parameter of ``modules``, in their order.

        Those of this rank, see `average`; zeros where ``loss`` does not reach. Changes no
        ``.grad``; ``loss`` can be used again.
        """

    def adopt(self, part: nn.Module | nn.Parameter, rate: float = 1.0) -> None:
        """Moves a new part of `model` to its device and lets the optimizer update it.

        Args:
            part: Module, or single parameter, that has been assigned to the model already.
            rate: Factor on the scheduled learning rate, see `set_rate`.

        Raises:
            ValueError: It is no part of the model, so that no checkpoint would hold it.
            RuntimeError: Within a trial, whose parts would have to leave again.
        """

    def set_rate(self, factor: float, *parts: nn.Module | nn.Parameter) -> None:
        """Sets the factor on the scheduled learning rate of ``parts``; of all, without any.

        An encoder that has a factor of its own, see `mmtrain.models.encoders.Encoder`, keeps it.
        From the next update on, until it is set anew; the schedule keeps multiplying. Saved by
        parameter name. Cheap enough for each step. With 0 parameters stay, yet momentum gathers.
        """

    def restart_schedule(self, epochs: int | None = None) -> None:
        """Starts the schedule of the learning rate anew with the current epoch, for a new stage.

        Before `train_epoch`, so that the whole epoch has the new rate.

        Args:
            epochs: Number of epochs that the stage has; all that are left by default.
        """

    def renew_optimizer(self, *modules: nn.Module) -> None:
        """Forgets momentum and moments of ``modules``; of all, without any."""

    def snapshot(self, *modules: nn.Module) -> dict[str, Any]:
        """Copy of weights, statistics and optimizer state of ``modules``; of all, without any.

        A plain dict of tensors and numbers, so it may be kept as a method's `state`; a checkpoint
        then grows by it. Taken in ``setup`` it is of the initial weights, in a resumed run as well,
        and need not be saved.
        """

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Puts back the weights, statistics and optimizer state of `snapshot`, and no others."""

    # Ranks and randomness.

    def average(self, values: Sequence[Tensor], batch: Batch | None = None) -> None:
        """Replaces means over this rank's samples by means over the samples of all, in place.

        The samples are those of the step, or else of ``batch``: this rank's share of another one.
        """

    def gather_rows(self, rows: Tensor) -> Tensor:
        """(N, ...) rows of all ranks, in the order of the undivided batch.

        For a loss that is no mean over single samples. Each rank computes it of all rows, and the
        gradient of `update` is then the one of a single rank; it flows to the rows of this rank.

        Args:
            rows: Rows (b, ...), one for each sample of the step's batch.
        """

    def mean(self, value: Tensor) -> Tensor:
        """Mean over the samples of all ranks of a value that is a mean over those of this one."""

    def sum(self, value: Tensor) -> Tensor:
        """Sum over the samples of all ranks of a value that is a sum over those of this one."""

    def draws(self, *shape: int) -> Tensor:
        """(b, *shape) uniform numbers in [0, 1), a row for each sample of the step's batch.

        On `device`. From `generator`, and a sample has the same however many ranks there are.
        """

    # Passes without training.

    def evaluating(self) -> AbstractContextManager[None]:
        """Puts the model in eval mode for a forward pass within a step; autograd stays on."""

    @overload
    def score(
        self, fn: Callable[[Batch], Tensor], split: str = "train", ids: IDs | None = None
    ) -> Tensor: ...

    @overload
    def score(
        self,
        fn: Callable[[Batch], Mapping[str, Tensor]],
        split: str = "train",
        ids: IDs | None = None,
    ) -> dict[str, Tensor]: ...

    def score(
        self,
        fn: Callable[[Batch], Tensor | Mapping[str, Tensor]],
        split: str = "train",
        ids: IDs | None = None,
    ) -> Tensor | dict[str, Tensor]:
        """(n, ...) values of ``fn`` for each sample, in the order of ids, equal on all ranks.

        Eval mode, no gradients, no augmentation, each sample once. Floats come as float32, with NaN
        for a sample that was skipped as damaged; integers as int64, with -1 for such a sample.

        Args:
            fn: Function of a batch to a tensor (b, ...), or to several by name; the result has the
                same structure.
            split: Split that is looked at, where no ``ids`` are given.
            ids: Distinct samples to look at, in any order; the result has theirs.

        Example:
            >>> seen = run.score(lambda b: {"z": run.model.feature("audio", b), "y": b.target})
        """

    def batches(self, split: str) -> Iterator[Batch]:
        """This rank's share of one pass over ``split``, in the view of evaluation.

        In the order of ids; each sample is seen by one rank. Ranks may have unequal numbers of
        batches, so nothing may be added up over ranks before the pass is over.
        """

    def held_out(self) -> Batch:
        """This rank's share of a batch of held-out samples, drawn anew, as evaluation sees them."""

    def teacher(self, folder: str | Path, *modalities: str) -> Teacher:
        """The model of another, finished run with its best weights, to learn from.

        In ``setup``; it becomes no part of the model and of no checkpoint, so a resumed run loads
        it again.

        Args:
            folder: Folder of that run.
            modalities: Modalities that it must have.

        Raises:
            ConfigError: No finished run there, a modality that it lacks or that this run does not
                read, or other classes.
            DataError: It was trained on other data.
        """

    # Records.

    def observe(self, out: Outputs, batch: Batch) -> None:
        """Shows the outputs for the step's batch to a curriculum that scores while training.

        Once a step, before the update, by every method that has such outputs.
        """

    def log(self, **scalars: float | Tensor) -> None:
        """Adds each name's mean over epoch and ranks, which log the same, to the metrics."""


def state(default: Any = None, *, default_factory: Callable[[], Any] | None = None) -> Any:
    """Declares a field that a method remembers: no hyper-parameter, and saved in checkpoints.

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

    # Reason why no batch may be encoded in pieces (`--accumulate`); empty where one may.
    whole_batches: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Checks the hyper-parameters whose fields say what they take, see `mmtrain.fields`."""
        check_fields(self)

    @property
    def needs(self) -> Needs:
        """Traits of a task that the equations need, each with its use: `mmtrain.tasks.needs`."""
        return {}

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
        """The inner loop: trains on one batch."""
        out = run.model(batch)
        run.observe(out, batch)
        with run.update(self.loss(run, out, batch)):
            self.modulate(run, out, batch)

    def loss(self, run: Run, out: Outputs, batch: Batch) -> Tensor:
        """Loss that is minimised: a mean over the samples of ``batch``, all of which are real."""
        return self.sample_losses(run.task, out, batch.target).mean()

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Float[Tensor, " batch"]:
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
        """Name to value of each field that the method remembers."""
        return {name: getattr(self, name) for name in self._states()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Sets the fields of a `state_dict`."""
        for name in self._states():
            setattr(self, name, saved[name])

    def _states(self) -> Iterable[str]:
        return [f.name for f in fields(self) if f.metadata.get("state")]
