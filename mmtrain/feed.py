"""What a run reads: the batches of an epoch in the curriculum's order, and passes over a split."""

from collections.abc import Iterator
from dataclasses import asdict, replace

import torch

from mmprep.store import LocalStore
from mmtrain.curricula.base import Curriculum
from mmtrain.data import OrderedStream, SampleOrder, ShardedDataset
from mmtrain.data.stream import StreamState
from mmtrain.data.traffic import Traffic
from mmtrain.types import Batch


class Feed:
    """The batches of a run, in memory of the CPU, without fillers.

    Args:
        training: Stream of the training view.
        evaluation: Stream of the same modalities without chance.
        curriculum: Order of the training split.
        seed: Of the order and of the view.
    """

    def __init__(
        self,
        training: OrderedStream,
        evaluation: OrderedStream,
        curriculum: Curriculum,
        seed: int,
    ) -> None:
        self._training, self._evaluation = training, evaluation
        self._curriculum, self._seed = curriculum, seed
        self._ids = self.dataset.ids("train")
        self.position = self.visits = 0

    @property
    def dataset(self) -> ShardedDataset:
        """Where the samples are."""
        return self._training.dataset

    @property
    def steps(self) -> int:
        """Steps of the epoch that was begun."""
        return self._training.steps

    def begin(self, epoch: int, saved: StreamState | None = None) -> None:
        """Starts an epoch, or goes on where ``saved`` stood in it.

        Raises:
            ConfigError: ``saved`` is of another order.
        """
        order = self._curriculum.order(self._ids, self._seed, epoch)
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

    def traffic(self) -> dict[str, float]:
        """What the epoch has read from a bucket, to be logged; nothing for a local disk."""
        if isinstance(self.dataset.store, LocalStore):
            return {}
        read = asdict(self._training.traffic)
        return {f"read_{name}": float(value) for name, value in read.items()}

    def first(self) -> Batch:
        """A batch of the first sample, to see what samples look like."""
        self._evaluation.begin(SampleOrder(self._ids[:1]), seed=0, epoch=0)
        return next(iter(self._evaluation))

    def batches(self, split: str) -> Iterator[Batch]:
        """Each sample of ``split`` once, in the order of its ids."""
        self._evaluation.begin(SampleOrder(self.dataset.ids(split)), seed=0, epoch=0)
        yield from map(live, self._evaluation)


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
