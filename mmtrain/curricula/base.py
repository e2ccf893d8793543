"""What a curriculum is."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmtrain.data.order import SampleOrder


class Curriculum(Protocol):
    """Decides the visits of every epoch."""

    def order(self, ids: NDArray[np.int64], seed: int, epoch: int) -> SampleOrder:
        """The visits of ``epoch`` over the samples ``ids``: the same for the same arguments."""
