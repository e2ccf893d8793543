"""What a curriculum is, and what it sees of a run."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mmtrain.data.order import SampleOrder


class Judged(NamedTuple):
    """What a model says of samples.

    Attributes:
        similarity: (n,) how alike the modalities' probabilities are, see
            `mmtrain.functional.agreement`.
        loss: (n,) the method's loss.
    """

    similarity: NDArray[np.float32]
    loss: NDArray[np.float32]


class Judge(Protocol):
    """What a curriculum may use of a run.

    Attributes:
        seed: Of the run.
        epoch: The epoch that is about to begin, from 0.
        ids: (n,) the samples that epochs are made of, ascending.
    """

    seed: int
    epoch: int

    @property
    def ids(self) -> NDArray[np.int64]:
        """The samples."""

    def judge(self) -> Judged:
        """One evaluation pass over `ids`: eval mode, no gradients, no chance."""


class Curriculum:
    """Decides the visits of every epoch: a function of (seed, epoch, what it remembers)."""

    def order(self, run: Judge) -> SampleOrder:
        """The visits of the epoch that begins. Looks at the samples first where that is due."""
        return self.visits(run.ids, run.seed, run.epoch)

    def visits(self, ids: NDArray[np.int64], seed: int, epoch: int) -> SampleOrder:
        """The visits of ``epoch`` over ``ids``: the same for the same arguments and memory."""
        raise NotImplementedError

    @property
    def observes(self) -> bool:
        """Whether it wants to be shown what training itself says of the samples."""
        return False

    def observe(self, ids: NDArray[np.int64], judged: Judged, epoch: int) -> None:
        """Takes what training has said of ``ids``, ascending; of all ranks."""

    def row(self) -> Mapping[str, NDArray[Any]] | None:
        """What `visits` now depends on, by sample, for `scores.h5`; None where on nothing."""
        return None

    def recall(self, row: Mapping[str, NDArray[Any]]) -> None:
        """Takes up what `row` gave."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers, as tensors and numbers."""
        return {}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave."""
