"""The batches of an epoch in the curriculum's order, and of passes over a split."""

from collections.abc import Iterator
from copy import copy
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mmprep.storage.store import LocalStore
from mmtrain.curricula.base import Curriculum
from mmtrain.data import OrderedStream, SampleOrder, ShardedDataset
from mmtrain.data.reading.traffic import Traffic
from mmtrain.data.stream import StreamState
from mmtrain.errors import ConfigError
from mmtrain.types import Batch


class Reading(NamedTuple):
    """One batch of an epoch, and its place in it.

    Attributes:
        batch: Batch in memory of the CPU, without fillers where there is a choice.
        position: Visits of the epoch that are done behind the batch, by all ranks.
    """

    batch: Batch
    position: int


class Feed:
    """This rank's batches of a run, in memory of the CPU, without fillers where there is a choice.

    Args:
        training: Stream of the training view.
        evaluation: Stream of the same modalities without random crops and flips.
        curriculum: Curriculum that decides the order of the training split.
        labels: (n,) class id of each sample of the data set, by which held-out samples are spread.
        seed: Seed of the view, and of the choice of the samples that are held out.
        held: Number of samples of the training split that epochs leave out.

    Attributes:
        curriculum: Curriculum, as given.
        ids: (n,) samples that epochs are made of, ascending.
        position: Visits of the epoch that are done, by all ranks. Whoever trains sets it to the
            `Reading.position` of the batch in hand: a prefetcher reads further ahead.
        visits: Visits of the epoch.
    """

    def __init__(
        self,
        training: OrderedStream,
        evaluation: OrderedStream,
        curriculum: Curriculum,
        labels: NDArray[np.int64],
        seed: int,
        held: int = 0,
    ) -> None:
        self._training, self._evaluation = training, evaluation
        self.curriculum, self._seed = curriculum, seed
        self.ids, self._held = split_held_out(self.dataset, labels, held, seed)
        self.position = self.visits = 0

    @property
    def dataset(self) -> ShardedDataset:
        """The shards that are read."""
        return self._training.dataset

    @property
    def skips_damaged(self) -> bool:
        """Whether damaged samples become fillers, so that a step may lack real rows."""
        return self._training.options.skip_damaged

    @property
    def steps(self) -> int:
        """Steps of the epoch that was begun."""
        return self._training.steps

    def begin(self, order: SampleOrder, epoch: int, saved: StreamState | None = None) -> None:
        """Starts an epoch, or goes on where ``saved`` stood in it.

        Raises:
            ConfigError: ``saved`` is of another order.
        """
        self._training.traffic = Traffic()
        self._training.begin(order, seed=self._seed, epoch=epoch)
        if saved is not None:
            self._training.load_state_dict(saved)
        self.position, self.visits = self._training.state_dict()["position"], len(order)

    def state(self) -> StreamState:
        """State of the stream from which an epoch goes on at `position`."""
        return {**self._training.state_dict(), "position": self.position}

    @property
    def read_bytes(self) -> int:
        """Bytes of the shards that the epoch has read so far."""
        return self._training.traffic.bytes

    def __iter__(self) -> Iterator[Reading]:
        """Yields the rest of the epoch, batch by batch."""
        if self.position == self.visits:
            return
        for batch in self._training:
            yield Reading(without_fillers(batch), self._training.state_dict()["position"])

    def account(self) -> dict[str, float]:
        """Scalars to log of an epoch: traffic with a bucket, and damaged samples so far."""
        scalars: dict[str, float] = {}
        if not isinstance(self.dataset.store, LocalStore):
            read = asdict(self._training.traffic)
            scalars = {f"read_{name}": float(value) for name, value in read.items()}
        if self.skips_damaged:
            scalars["skipped"] = float(len(self._training.skipped))
        return scalars

    def first(self) -> Batch:
        """A batch of the first sample, to see what samples look like."""
        return next(self.over(self.ids[:1]))

    def over(self, ids: NDArray[np.int64], size: int | None = None) -> Iterator[Batch]:
        """Yields one pass over ``ids`` in the view of evaluation; passes may be nested.

        Args:
            ids: Samples, in their order.
            size: Samples of a batch; None takes those of an evaluation.
        """
        stream = copy(self._evaluation)
        stream.batch_size = size or stream.batch_size
        stream.begin(SampleOrder(ids), seed=0, epoch=0)
        yield from map(without_fillers, stream)

    def held_out(self, generator: torch.Generator) -> Batch:
        """A batch of the held-out samples, drawn without replacement."""
        drawn = torch.randperm(len(self._held), generator=generator).numpy()
        size = self._training.batch_size
        return next(self.over(self._held[drawn[:size]], size))


def split_held_out(
    dataset: ShardedDataset, labels: NDArray[np.int64], held: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids of the train split that epochs are made of, and ``held`` others; both ascend.

    Those are drawn evenly over the split sorted by class, so that each class gives its share.

    Raises:
        ConfigError: More than half of the split would be held out.
    """
    ids = dataset.ids("train")
    if 2 * held > len(ids):
        raise ConfigError(
            f"{held} samples to hold out of {len(ids)} to train on; half of them is the most"
        )
    if not held:
        return ids, ids[:0]
    shuffled = np.random.default_rng([seed, 1]).permutation(ids)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    # The middle of each of `held` equal stretches, in integers so that no rounding repeats one.
    out = by_class[(np.arange(held) * 2 + 1) * len(ids) // (2 * held)]
    # Ids ascend, so places are looked up: numpy's set functions take seconds for a million.
    return np.delete(ids, np.searchsorted(ids, out)), np.sort(out)


def without_fillers(batch: Batch) -> Batch:
    """The batch without its fillers, unless there is nothing else in it.

    The rest needs no weights, and the mean over it is the mean over real samples. A rank that has
    fillers only keeps them, for it must take part in what the ranks do together.
    """
    keep = ~batch.filler
    if bool(keep.all()) or not bool(keep.any()):
        return batch
    return replace(
        batch,
        ids=batch.ids[keep],
        target=batch.target[keep],
        filler=batch.filler[keep],
        inputs={m: x[keep] for m, x in batch.inputs.items()},
        shown={m: x[keep] for m, x in batch.shown.items()},
    )
