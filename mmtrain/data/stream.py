"""The stream: an order of samples in, batches out, in that order.

Threads of this process read and decode straight into the memory of the batches ahead. Threads,
because reading, JPEG and resizing release the GIL: nothing is copied between processes, and a
bucket's client, which hangs in a forked child, stays where it is.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import closing
from typing import Final, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from mmprep.storage.store import LocalStore
from mmtrain.data.batches.buffer import Slab
from mmtrain.data.batches.decode import Decoder, array_header, decoder
from mmtrain.data.batches.view import View
from mmtrain.data.batches.workers import Workers
from mmtrain.data.dataset import ShardedDataset
from mmtrain.data.order import SampleOrder, Share, slots, steps
from mmtrain.data.reading.cache import Cache
from mmtrain.data.reading.local import Bytes
from mmtrain.data.reading.members import Arrivals
from mmtrain.data.reading.options import Loading
from mmtrain.data.reading.plan import Want, plan
from mmtrain.data.reading.traffic import Traffic
from mmtrain.errors import ConfigError, DataError, UnknownName
from mmtrain.types import Batch

_PROBES: Final = 16
_ALONE: Final = Share()
_LOADING: Final = Loading()


class StreamState(TypedDict):
    """Where a stream stands; the same size for any data set."""

    seed: int
    epoch: int
    position: int
    order: str


class _Ahead(NamedTuple):
    """A batch that threads are working at."""

    end: int
    ids: NDArray[np.int64]
    slab: Slab
    work: list[Future[Traffic]]


class OrderedStream(IterableDataset[Batch]):
    """Streams the visits of an order as batches, on one of several ranks.

    What a batch holds depends on (data set, view, seed, epoch, order, position) and on nothing
    else: not on the number of threads, processes or ranks, and not on where the run was resumed.

    Example:
        >>> stream = OrderedStream(dataset, ("audio", "visual"), 64, View())
        >>> stream.begin(Uniform().visits(dataset.ids("train"), seed=0, epoch=3), seed=0, epoch=3)
        >>> for batch in stream: ...

    In a DataLoader (``batch_size=None``) its processes take turns at the batches. The position is
    then theirs: to resume, give `begin` the number of visits done.

    Args:
        dataset: The shards.
        modalities: What to show; nothing else is read.
        batch_size: Visits a step, of all ranks together.
        view: How pictures are shown.
        share: This rank.
        loading: Threads and memory; of no influence on the batches.

    Attributes:
        traffic: What was read.
        skipped: Key of each sample that was skipped as damaged, and why.

    Raises:
        ConfigError: The shards lack a modality, or a value is impossible.
    """

    def __init__(
        self,
        dataset: ShardedDataset,
        modalities: Sequence[str],
        batch_size: int,
        view: View,
        share: Share = _ALONE,
        loading: Loading = _LOADING,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"a batch has at least 1 sample; got {batch_size}")
        self.dataset, self.view = dataset, view
        self.batch_size, self.share, self.loading = batch_size, share, loading
        self._decoders = _decoders(dataset, modalities, view, loading)
        self._order: SampleOrder | None = None
        self._digest = ""
        self._seed = self._epoch = self._position = 0
        self.traffic = Traffic()
        self.skipped: dict[str, str] = {}

    def begin(self, order: SampleOrder, *, seed: int, epoch: int, position: int = 0) -> None:
        """Starts an epoch; iterating then gives the visits from ``position`` on.

        Raises:
            ConfigError: Ids that the data set does not have.
            UnknownName: A modality in ``shown`` that is not streamed.
        """
        if int(order.ids.min()) < 0 or int(order.ids.max()) >= len(self.dataset):
            raise ConfigError(f"ids of samples are 0 to {len(self.dataset) - 1}")
        for modality in order.shown:
            if modality not in self._decoders:
                raise UnknownName("modality in the stream", modality, self._decoders)
        self._order, self._digest = order, ""
        self._seed, self._epoch, self._position = seed, epoch, position

    @property
    def steps(self) -> int:
        """Steps of the whole epoch, the same on every rank."""
        return steps(len(self._begun()), self.batch_size)

    def state_dict(self) -> StreamState:
        """Where the stream stands, behind the batch that it gave last."""
        # Once an epoch: of a million visits it takes a while.
        self._digest = self._digest or self._begun().digest()
        return {
            "seed": self._seed,
            "epoch": self._epoch,
            "position": self._position,
            "order": self._digest,
        }

    def load_state_dict(self, state: StreamState) -> None:
        """Goes to where another stream stood, after `begin` with the same order.

        Raises:
            ConfigError: The epoch that was begun is another.
        """
        mine = {**self.state_dict(), "position": state["position"]}
        if mine != state:
            raise ConfigError(
                f"the run was saved in seed {state['seed']}, epoch {state['epoch']}, order "
                f"{state['order']}; begun are seed {mine['seed']}, epoch {mine['epoch']}, order "
                f"{mine['order']}. Resume with the same data, seed, curriculum and scores"
            )
        self._position = state["position"]

    def __iter__(self) -> Iterator[Batch]:
        """What is left of the epoch.

        Raises:
            DataError: Damaged bytes; names shard and sample.
        """
        order, ahead = self._begun(), deque[_Ahead]()
        self.dataset.check_process()
        with Workers(self.dataset, self.loading, self.skipped, self._opened_cache()) as workers:
            for start in _own(range(self._position, len(order), self.batch_size)):
                ahead.append(self._start(workers, order, start))
                if len(ahead) > self.loading.ahead:
                    yield self._finish(ahead.popleft())
            while ahead:
                yield self._finish(ahead.popleft())

    def _opened_cache(self) -> Cache | None:
        folder = self.loading.cache
        if folder is None or isinstance(self.dataset.store, LocalStore):
            return None
        cache = self.dataset.cache(folder, self.loading.cache_bytes)
        cache.begin()
        return cache

    def _begun(self) -> SampleOrder:
        if self._order is None:
            raise ConfigError("no epoch was begun; call begin(order, seed=..., epoch=...) first")
        return self._order

    def _start(self, workers: Workers, order: SampleOrder, start: int) -> _Ahead:
        taken = slots(len(order), start, self.batch_size, self.share)
        ids = order.ids[taken.positions]
        end = min(start + self.batch_size, len(order))
        draws = self.view.draws(self._seed, self._epoch, start, end)
        slab = Slab(
            self._decoders,
            [draws[i] for i in (taken.positions - start).tolist()],
            taken.filler,
            {modality: mask[taken.positions] for modality, mask in order.shown.items()},
            pin=self.loading.pin,
        )
        return _Ahead(end, ids, slab, workers.fill(slab, ids.tolist()))

    def _finish(self, made: _Ahead) -> Batch:
        # One awakening a batch, not one a future.
        wait(made.work, return_when=FIRST_EXCEPTION)
        for future in made.work:
            self.traffic.add(future.result())
        self._position = made.end
        targets = self.dataset.targets[made.ids].astype(np.int64)
        return made.slab.batch(made.ids, targets)


def _own(starts: range) -> Iterator[int]:
    """The steps of this process, where a DataLoader has several."""
    info = get_worker_info()
    yield from starts if info is None else starts[info.id :: info.num_workers]


def _decoders(
    dataset: ShardedDataset, modalities: Sequence[str], view: View, loading: Loading
) -> dict[str, Decoder]:
    parts = dataset.require(modalities)
    sound = _sound_shape(dataset, loading) if "spectrogram" in parts.values() else (0, 0)
    fields = int(dataset.parameters("flow").get("fields", 1))
    return {
        modality: decoder(part, view, sound=sound, fields=fields, checked=True)
        for modality, part in parts.items()
    }


def _sound_shape(dataset: ShardedDataset, loading: Loading) -> tuple[int, int]:
    """Frequencies and columns, from the first spectrogram that is sound."""
    index = dataset.index
    with closing(Arrivals(dataset, loading)) as arrivals:
        for sample in range(min(_PROBES, len(index))):
            if not index.fits(sample, dataset.sizes):
                continue
            for job in plan(index, [Want(sample, {"spectrogram": [0]})], gap=0):
                [(_, data)] = arrivals.of(job, Traffic())
                if data is not None and (shape := _shape(data)) is not None:
                    return shape
    raise DataError(f"{dataset.store.url}: no spectrogram has a shape; run `mmprep verify`")


def _shape(data: Bytes) -> tuple[int, int] | None:
    try:
        _, shape, _ = array_header(data)
    except DataError:
        return None
    return (shape[0], shape[1]) if len(shape) == 2 else None
