"""Numbers that records, `KEY.json`, have of single samples beside their labels."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from mmprep.format import crc32c
from mmprep.format.parts import RECORD
from mmprep.format.record import parse_record
from mmtrain.data.dataset import ShardedDataset
from mmtrain.errors import DataError

# Name of the column of a manifest that has the noise of each clip, as that of keypad.
NOISE = "noise"
# Reads at once: each is of a few hundred bytes, so that a bucket's answers are waited for.
_THREADS = 16


def extra_numbers(
    dataset: ShardedDataset, name: str, ids: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """(n,) number that each sample has in the column ``name`` of its manifest.

    Reads one record, and those of all of ``ids`` where that one has such a number.

    Args:
        dataset: Open shards.
        name: Name of a column, as `KEY.json` has it under ``extra``.
        ids: (n,) ids of the samples.

    Returns:
        The numbers, NaN for a sample without; None where the first sample has none.

    Raises:
        DataError: A record is damaged.
        StoreError: The shards cannot be read.
    """
    if not len(ids) or np.isnan(_number(dataset, name, int(ids[0]))):
        return None
    with ThreadPoolExecutor(_THREADS) as pool:
        numbers: Iterator[float] = pool.map(lambda i: _number(dataset, name, int(i)), ids)
        return np.fromiter(numbers, np.float64, len(ids))


def _number(dataset: ShardedDataset, name: str, sample: int) -> float:
    """The number of one sample; NaN where it has none."""
    index = dataset.index
    members = index.members(sample).get(RECORD, ())
    if not members:
        return float("nan")
    (member,), shard = members, index.shards[index.shard[sample]]
    place = f"{dataset.store.url}/{shard}: {member.name}"
    data = dataset.store.read(shard, member.offset, member.offset + member.size)
    if crc32c(data) != member.crc:
        raise DataError(f"{place} does not fit its checksum; run `mmprep verify`")
    extra = parse_record([data], place).get("extra")
    if isinstance(extra, dict):
        with suppress(KeyError, ValueError, TypeError):
            return float(extra[name])
    return float("nan")
