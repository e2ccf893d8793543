"""The order of samples, and the visits that a rank takes at each step: pure functions."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mmtrain.errors import ConfigError


@dataclass(frozen=True, eq=False)
class SampleOrder:
    """The visits of one epoch, in order.

    Attributes:
        ids: (n,) id of each visit's sample; an id may come more than once, or not at all.
        shown: Modality to (n,) True for visits that read it; a modality that is absent is shown in
            all.
    """

    ids: NDArray[np.int64]
    shown: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.ids):
            raise ConfigError("an order of no samples; choose a split that has some")
        for modality, mask in self.shown.items():
            if mask.shape != self.ids.shape:
                raise ConfigError(
                    f"shown[{modality!r}] has shape {mask.shape} for {len(self.ids)} visits"
                )

    def __len__(self) -> int:
        return len(self.ids)

    def digest(self) -> str:
        """Hash of all visits, as 16 hexadecimal digits."""
        digest = hashlib.sha256(np.ascontiguousarray(self.ids, "<i8").data)
        for modality in sorted(self.shown):
            digest.update(modality.encode())
            digest.update(np.packbits(self.shown[modality]).data)
        return digest.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Share:
    """One rank of several that train together.

    Attributes:
        rank: Number of the rank, from 0.
        ranks: Number of ranks.
    """

    rank: int = 0
    ranks: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.ranks:
            raise ConfigError(f"rank {self.rank} of {self.ranks}")


@dataclass(frozen=True, eq=False)
class Slots:
    """Visits that one rank takes at one step.

    Attributes:
        positions: (b,) positions of the visits in the order.
        filler: (b,) True where another slot has the same visit; this one must weigh nothing.
    """

    positions: NDArray[np.int64]
    filler: NDArray[np.bool_]


def steps(visits: int, batch_size: int) -> int:
    """Number of steps of an epoch, the same on every rank."""
    return -(-visits // batch_size)


def slots(visits: int, start: int, batch_size: int, share: Share) -> Slots:
    """Deals the visits of the step that begins at ``start``, and returns the slots of one rank.

    The step's visits go to the ranks in turn, so that all ranks together visit ``start ... start +
    batch_size - 1`` for any number of ranks. Every rank has equally many slots at every step.
    Slots that are left over, at the end of the epoch or where the ranks do not divide the batch,
    repeat visits of the same step: nothing else is read, and statistics over a batch see real
    samples only.

    Args:
        visits: Number of visits of the epoch.
        start: Position of the step's first visit.
        batch_size: Visits a step, of all ranks together.
        share: Rank whose slots are returned.
    """
    count = min(batch_size, visits - start)
    width = -(-batch_size // share.ranks)
    slot = share.rank + share.ranks * np.arange(width, dtype=np.int64)
    return Slots(positions=start + slot % count, filler=slot >= count)
