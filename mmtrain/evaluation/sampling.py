"""Draws of samples for pictures that cannot show all of them."""

import numpy as np
from numpy.typing import NDArray


def sample_ids(ids: NDArray[np.int64], limit: int, seed: int) -> NDArray[np.int64]:
    """At most ``limit`` of the ids, ascending; the same for the same ids and seed."""
    if len(ids) <= limit:
        return ids
    return np.sort(np.random.default_rng(seed).choice(ids, limit, replace=False))
