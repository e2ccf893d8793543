"""What a run reads: the batches of an epoch in the curriculum's order, and passes over a split."""

from collections.abc import Iterator
from copy import copy
from dataclasses import asdict, replace

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


class Feed:
    """This rank's batches of a run, in memory of the CPU, without fillers where there is a choice.

    Args:
        training: Stream of the training view.
        evaluation: Stream of the same modalities without chance.
        curriculum: Decides the order of the training split.
        seed: Of the view, and of what is held out.
        held: Samples of the training split that epochs leave out.

    Attributes:
        curriculum: As given.
        ids: (n,) samples that epochs are made of, ascending.
        position: Visits of the epoch that are done, by all ranks.
        visits: Visits of the epoch.
    """

    def __init__(
        self,
        training: OrderedStream,
        evaluation: OrderedStream,
        curriculum: Curriculum,
        seed: int,
        held: int = 0,
    ) -> None:
        self._training, self._evaluation = training, evaluation
        self.curriculum, self._seed = curriculum, seed
        self.ids, self._held = parted(self.dataset, held, seed)
        self.position = self.visits = 0

    @property
    def dataset(self) -> ShardedDataset:
        """Where the samples are."""
        return self._training.dataset

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
        self.position, self.visits = self.state()["position"], len(order)

    def state(self) -> StreamState:
        """Where the epoch stands, behind the batch that was given last."""
        return self._training.state_dict()

    def __iter__(self) -> Iterator[Batch]:
        """What is left of the epoch."""
        if self.position == self.visits:
            return
        for batch in self._training:
            self.position = self.state()["position"]
            yield live(batch)

    def account(self) -> dict[str, float]:
        """What is to be logged of an epoch: what a bucket gave, and the damaged samples so far."""
        found: dict[str, float] = {}
        if not isinstance(self.dataset.store, LocalStore):
            read = asdict(self._training.traffic)
            found = {f"read_{name}": float(value) for name, value in read.items()}
        if self._training.options.skip_damaged:
            found["skipped"] = float(len(self._training.skipped))
        return found

    def first(self) -> Batch:
        """A batch of the first sample, to see what samples look like."""
        return next(self.over(self.ids[:1]))

    def over(self, ids: NDArray[np.int64]) -> Iterator[Batch]:
        """One pass over ``ids`` in the view of evaluation; passes may be nested."""
        stream = copy(self._evaluation)
        stream.begin(SampleOrder(ids), seed=0, epoch=0)
        yield from map(live, stream)

    def held_out(self, generator: torch.Generator) -> Batch:
        """A batch of the held-out samples, drawn without replacement."""
        drawn = torch.randperm(len(self._held), generator=generator).numpy()
        return next(self.over(self._held[drawn[: self._evaluation.batch_size]]))


def parted(
    dataset: ShardedDataset, held: int, seed: int
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
    shuffled = np.random.default_rng([seed, 1]).permutation(ids)
    by_class = shuffled[np.argsort(dataset.targets[shuffled], kind="stable")]
    out = by_class[(np.arange(held) * 2 + 1) * len(ids) // max(1, 2 * held)]
    return np.setdiff1d(ids, out), np.sort(out)


def live(batch: Batch) -> Batch:
    """The batch without its fillers, unless there is nothing else in it.

    What is left needs no weights, and the mean over it is the mean over real samples.
    """
    keep = ~batch.filler
    if bool(keep.all()) or not bool(keep.any()):
        return batch

    def kept(tensor: torch.Tensor) -> torch.Tensor:
        return tensor[keep]

    return replace(
        batch,
        ids=kept(batch.ids),
        target=kept(batch.target),
        filler=kept(batch.filler),
        inputs={m: kept(x) for m, x in batch.inputs.items()},
        shown={m: kept(x) for m, x in batch.shown.items()},
    )
