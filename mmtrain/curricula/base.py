"""The interface of a curriculum, and the part of a run that it may use."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.curricula.memory import Memory, SampleFacts
from mmtrain.data.order import SampleOrder
from mmtrain.methods.base import Method
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.needs import Needs
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs


class Scorer(Protocol):
    """The run as a curriculum sees it.

    Attributes:
        seed: Seed of the run.
        epoch: Epoch that is about to begin, from 0.
        model: Model in its present state.
        method: Method that trains it.
        task: Losses and confidence of the targets.
    """

    seed: int
    epoch: int
    model: MultimodalModel
    method: Method
    task: Task

    @property
    def ids(self) -> NDArray[np.int64]:
        """Ids (n,) of the samples that epochs are made of, ascending."""

    def score(
        self,
        fn: Callable[[Batch], dict[str, Tensor]],
        split: str = "train",
        ids: NDArray[np.int64] | None = None,
    ) -> Mapping[str, Tensor]:
        """Name to values (n, ...) of ``fn`` for each sample, see `methods.base.Run.score`."""


class Curriculum:
    """Decides the visits of every epoch: a function of (seed, epoch, scores in memory).

    One that scores makes a `Memory` and gives `facts`. If these are more than functions of the
    outputs (passes with modalities hidden, say), it overrides `measure`.

    Attributes:
        memory: Scores of the samples; None where the order does not depend on any.
    """

    memory: Memory | None = None

    @property
    def needs(self) -> Needs:
        """Traits of a task without which samples cannot be scored, each with its use.

        The run refuses a task that lacks one, by name, before it trains.
        """
        return {}

    def order(self, run: Scorer) -> SampleOrder:
        """The visits of the epoch that begins. Scores the samples first where that is due."""
        if self.memory is not None:
            self.memory.refresh(run.epoch, len(run.ids), lambda: self.measure(run))
        return self.visits(run.ids, run.seed, run.epoch)

    def visits(self, ids: NDArray[np.int64], seed: int, epoch: int) -> SampleOrder:
        """The visits of ``epoch`` over ``ids``: the same for the same arguments and memory."""
        raise NotImplementedError

    def facts(self, out: Outputs, batch: Batch, method: Method, task: Task) -> dict[str, Tensor]:
        """Name to values (b,) of the facts in memory, without gradients.

        Args:
            out: Outputs for ``batch``, as they are trained.
            batch: Batch of real samples.
            method: Method that trains, see `Method.sample_losses`.
            task: Losses and confidence of the targets.
        """
        raise NotImplementedError

    def measure(self, run: Scorer) -> SampleFacts:
        """Facts (n,) of all ``run.ids``, by evaluation passes."""

        def facts(batch: Batch) -> dict[str, Tensor]:
            out = run.method.predict_trained(run.model, batch)
            return self.facts(out, batch, run.method, run.task)

        return {
            name: values.cpu().numpy() for name, values in run.score(facts, ids=run.ids).items()
        }
