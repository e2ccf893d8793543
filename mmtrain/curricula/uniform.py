"""Uniform: every sample once an epoch, in an order drawn anew each time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmtrain.curricula.base import Curriculum
from mmtrain.data.order import SampleOrder


@dataclass(kw_only=True)
class Uniform(Curriculum):
    """Every sample once, with all its modalities."""

    def visits(self, ids: NDArray[np.int64], seed: int, epoch: int) -> SampleOrder:
        """A permutation of ``ids`` that depends on (``seed``, ``epoch``) alone."""
        return SampleOrder(np.random.default_rng([seed, epoch]).permutation(ids))
