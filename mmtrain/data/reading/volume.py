"""Bytes that visits read, counted from the index alone."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmtrain.data.dataset import ShardedDataset
from mmtrain.modalities import PICTURES, modality

# Samples that stand for all; the sizes of more would take long to look up in a large index.
_SAMPLES: Final = 4096


def mean_bytes(
    dataset: ShardedDataset, ids: NDArray[np.int64], modalities: Sequence[str], frames: int
) -> dict[str, float]:
    """Modality to the mean number of bytes that a visit reads of it, headers apart.

    Args:
        dataset: Shards.
        ids: (n,) samples, at least one; of many, evenly spread ones are looked up.
        modalities: Names of modalities that the shards have.
        frames: Largest number of pictures that a visit reads.
    """
    some = ids[np.linspace(0, len(ids) - 1, min(len(ids), _SAMPLES)).astype(np.int64)]
    layout = dataset.index.layout(some)
    ends = np.concatenate([[0], layout.size.cumsum()])
    means = {}
    for name, part in dataset.require(modalities).items():
        column = dataset.index.parts.index(part)
        counts = dataset.index.counts[some, column].astype(np.int64)
        first = layout.row[:, column]
        whole = ends[first + counts] - ends[first]
        read = np.minimum(counts, frames) if modality(name).kind == PICTURES else counts
        means[name] = float((whole * read / np.maximum(counts, 1)).mean())
    return means
