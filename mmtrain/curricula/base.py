"""What a curriculum is, and what it sees of a run."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmtrain.curricula.memory import Judged, Memory
from mmtrain.data.order import SampleOrder


class Judge(Protocol):
    """What a curriculum may use of a run.

    Attributes:
        seed: Of the run.
        epoch: The epoch that is about to begin, from 0.
    """

    seed: int
    epoch: int

    @property
    def ids(self) -> NDArray[np.int64]:
        """(n,) the samples that epochs are made of, ascending."""

    def judge(self) -> Judged:
        """One evaluation pass over `ids`: eval mode, no gradients, no chance."""


class Curriculum:
    """Decides the visits of every epoch: a function of (seed, epoch, scores in memory).

    Attributes:
        memory: Scores of the samples; None where the order does not depend on any.
    """

    memory: Memory | None = None

    def order(self, run: Judge) -> SampleOrder:
        """The visits of the epoch that begins. Scores the samples first where that is due."""
        if self.memory is not None:
            self.memory.refresh(run.epoch, len(run.ids), run.judge)
        return self.visits(run.ids, run.seed, run.epoch)

    def visits(self, ids: NDArray[np.int64], seed: int, epoch: int) -> SampleOrder:
        """The visits of ``epoch`` over ``ids``: the same for the same arguments and memory."""
        raise NotImplementedError
