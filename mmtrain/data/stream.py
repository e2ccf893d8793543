"""Streams an order of samples as batches, in exactly that order.

Threads of this process read and decode straight into the memory of the batches ahead. Threads,
because reading, JPEG and resizing release the GIL: nothing is copied between processes, and a
bucket's client, which hangs in a forked child, stays in its process.
"""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import closing
from functools import partial
from typing import Any, Final, NamedTuple, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from mmtrain.data.batches.buffer import BatchBuffer
from mmtrain.data.batches.decode import Decoder, PartSource
from mmtrain.data.batches.memory import BatchMemory
from mmtrain.data.batches.view import View
from mmtrain.data.batches.workers import Workers
from mmtrain.data.dataset import ShardedDataset
from mmtrain.data.loops import Copies, refuse_collating, refuse_dispatching, worker_place
from mmtrain.data.order import SampleOrder, Share, slots, steps
from mmtrain.data.reading.cache import open_cache
from mmtrain.data.reading.local import Bytes
from mmtrain.data.reading.members import MemberReader
from mmtrain.data.reading.options import StreamOptions
from mmtrain.data.reading.plan import Visit, plan
from mmtrain.data.reading.traffic import Traffic
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.modalities import load, modality
from mmtrain.types import Batch

# Samples that are looked at for facts that the index lacks, such as the shape of spectrograms.
_EXAMPLES: Final = 16
_ALONE: Final = Share()
_DEFAULTS: Final = StreamOptions()


class StreamState(TypedDict):
    """Position of a stream; of the same size for any data set.

    Attributes:
        seed: Seed of frames, crops and flips.
        epoch: Number of the epoch.
        position: Number of visits handed out, by all ranks together; in one of several worker
            processes, the position of its next batch.
        order: Hash of the epoch's order.
        workers: Number of worker processes, in one of them.
    """

    seed: int
    epoch: int
    position: int
    order: str
    workers: NotRequired[int]


class _PendingBatch(NamedTuple):
    """Batch that threads are filling; ``end`` is the position from which this process goes on."""

    end: int
    ids: NDArray[np.int64]
    buffer: BatchBuffer
    futures: list[Future[Traffic]]


class OrderedStream(IterableDataset[Batch]):
    """Streams the visits of an order as batches, on one of several ranks.

    A sample that lacks a modality, whose count in the index is 0, is blank there and does not show
    it.

    The content of a batch depends on (data set, view, seed, epoch, order, position) and on nothing
    else: not on the number of threads or ranks, and not on where the run was resumed. The state is
    the number of visits handed out, so that a training loop saves it beside its model.

    Each `begin` or `load_state_dict` allows one iteration. torch's DataLoader may wrap the stream
    with ``batch_size=None``. It needs no worker processes, for threads do the work; with some, each
    makes its turn of the batches, and only torchdata's StatefulDataLoader can be resumed.

    Example:
        >>> stream = OrderedStream(dataset, ("audio", "visual"), 64, View())
        >>> stream.begin(Uniform().visits(dataset.ids("train"), seed=0, epoch=3), seed=0, epoch=3)
        >>> for batch in stream: ...

    Args:
        dataset: Data set to read.
        modalities: Names of the modalities to show; nothing else is read.
        batch_size: Visits a step, of all ranks together.
        view: Frames, crop and flip of pictures.
        share: Rank whose part of each step is streamed.
        options: Threads and memory; of no influence on the batches.

    Attributes:
        targets: Function of ids (b,) to the targets (b, ...) of these samples: their classes,
            unless another is set.
        traffic: Counts of what was read.
        skipped: Key of each sample that was skipped as damaged, to the reason.

    Raises:
        ConfigError: The shards lack a modality, or a value is impossible.
        DataError: The shards have no usable example of a modality.
    """

    def __init__(
        self,
        dataset: ShardedDataset,
        modalities: Sequence[str],
        batch_size: int,
        view: View,
        share: Share = _ALONE,
        options: StreamOptions = _DEFAULTS,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"a batch has at least 1 sample; got {batch_size}")
        refuse_collating()
        self.dataset, self.view = dataset, view
        self.batch_size, self.share, self.options = batch_size, share, options
        self._decoders = _make_decoders(dataset, modalities, view, options)
        self._optional = _optional(dataset, self._decoders)
        self._order: SampleOrder | None = None
        self._digest = ""
        self._seed = self._epoch = self._position = self._first = 0
        self._iterated = self._in_turn = False
        self._copies = Copies()
        self._memory = BatchMemory(options)
        self.targets: Callable[[NDArray[np.int64]], NDArray[Any]] = self._classes
        self.traffic = Traffic()
        self.skipped: dict[str, str] = {}

    def begin(self, order: SampleOrder, *, seed: int, epoch: int, position: int = 0) -> None:
        """Starts an epoch, which can then be iterated over once.

        Args:
            order: Visits of the epoch.
            seed: Seed of frames, crops and flips.
            epoch: Number of the epoch, on which they depend too.
            position: Number of visits that were handed out before, and are left out.

        Raises:
            ConfigError: The data set lacks an id, or the position lies outside the order.
            UnknownName: ``order.shown`` names a modality that is not streamed.
        """
        if int(order.ids.min()) < 0 or int(order.ids.max()) >= len(self.dataset):
            raise ConfigError(f"ids of samples are 0 to {len(self.dataset) - 1}")
        for name in order.shown:
            if name not in self._decoders:
                raise UnknownName("modality in the stream", name, self._decoders)
        if not 0 <= position <= len(order):
            raise ConfigError(f"position {position} of an order of {len(order)} visits")
        self._order, self._digest = order, ""
        self._seed, self._epoch = seed, epoch
        self._copies.clear()
        self._go_to(position)

    @property
    def steps(self) -> int:
        """Number of steps of the whole epoch, the same on every rank."""
        return steps(len(self._require_order()), self.batch_size)

    def __len__(self) -> int:
        """Number of batches that iterating gives: those of the epoch that are left at its start.

        It stays the same during an iteration, as progress bars and DataLoader expect of a length.
        """
        return steps(len(self._require_order()) - self._first, self.batch_size)

    def __bool__(self) -> bool:
        # A stream is not false because its epoch is over, or none was begun.
        return True

    def state_dict(self) -> StreamState:
        """Returns the position of the stream, behind the batch that it handed out last.

        Raises:
            ConfigError: No epoch was begun, or worker processes have copies of the stream, of which
                their loader alone knows what they handed out.
        """
        if self._copies and get_worker_info() is None:
            raise ConfigError(
                "worker processes stream this epoch, and their loader has the state: save that of "
                "torchdata's StatefulDataLoader, or give the DataLoader num_workers=0"
            )
        # Once an epoch: for a million visits the hash takes a while.
        self._digest = self._digest or self._require_order().digest()
        state: StreamState = {
            "seed": self._seed,
            "epoch": self._epoch,
            "position": self._position,
            "order": self._digest,
        }
        workers = worker_place().workers
        return state if workers == 1 else {**state, "workers": workers}

    def load_state_dict(self, state: StreamState) -> None:
        """Moves to the position of another stream, after `begin` with the same order.

        Args:
            state: Position that `state_dict` has returned.

        Raises:
            ConfigError: The epoch that was begun is another, or worker processes streamed it of
                which there are not as many here.
        """
        workers, here = state.get("workers", 1), worker_place().workers
        if workers not in (1, here):
            raise ConfigError(
                f"{workers} worker processes streamed the epoch, and here are {here}; give the "
                f"DataLoader num_workers={workers} again"
            )
        mine, theirs = {**self.state_dict(), "position": state["position"]}, {**state}
        mine.pop("workers", None)
        theirs.pop("workers", None)
        if mine != theirs:
            raise ConfigError(
                f"the run was saved in seed {state['seed']}, epoch {state['epoch']}, order "
                f"{state['order']}; begun are seed {mine['seed']}, epoch {mine['epoch']}, order "
                f"{mine['order']}. Resume with the same data, seed, curriculum and scores"
            )
        self._go_to(state["position"])
        self._in_turn = workers > 1

    def __iter__(self) -> Generator[Batch, None, None]:
        """Yields the batches of the epoch that are left; closing the generator stops its threads.

        Raises:
            ConfigError: No epoch was begun, or this one was iterated over already.
            DataError: Bytes are damaged; names shard and sample.
        """
        order = self._require_order()
        refuse_dispatching()
        self.dataset.check_process()
        # In a worker process later: an error here ends the process, and nobody reads its message.
        if get_worker_info() is None:
            self._refuse_again()
        self._take_turn(len(order))
        return self._batches(order)

    def _refuse_again(self) -> None:
        """Refuses a second iteration: loops that forget `begin` would train on nothing, unseen."""
        if self._iterated:
            raise ConfigError(
                f"epoch {self._epoch} was iterated over already; call begin(order, seed=..., "
                "epoch=...) before each iteration, and load_state_dict(state) behind it to go on "
                "within an epoch"
            )

    def _take_turn(self, visits: int) -> None:
        """Moves to the first batch of this worker process, if there are several."""
        if not self._in_turn:
            ahead = worker_place().number * self.batch_size
            self._position = min(self._position + ahead, visits)
            self._in_turn = True

    def _batches(self, order: SampleOrder) -> Generator[Batch, None, None]:
        # Only now, for some loops make an iterator and drop it before they take the next.
        self._iterated |= get_worker_info() is not None and not self._copies.add(worker_place())
        self._refuse_again()
        Workers.check_fork()
        self._iterated = True
        pending = deque[_PendingBatch]()
        cache = open_cache(self.dataset, self.options)
        stride = self.batch_size * worker_place().workers
        with Workers(self.dataset, self.options, self.skipped, cache) as workers:
            for start in range(self._position, len(order), stride):
                pending.append(self._submit(workers, order, start, min(start + stride, len(order))))
                if len(pending) > self.options.ahead:
                    yield self._collect(pending.popleft())
            while pending:
                yield self._collect(pending.popleft())

    def _go_to(self, position: int) -> None:
        self._position = self._first = position
        self._iterated = self._in_turn = False

    def _classes(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.dataset.targets[ids].astype(np.int64)

    def _require_order(self) -> SampleOrder:
        if self._order is None:
            raise ConfigError("no epoch was begun; call begin(order, seed=..., epoch=...) first")
        return self._order

    def _submit(
        self, workers: Workers, order: SampleOrder, start: int, behind: int
    ) -> _PendingBatch:
        taken = slots(len(order), start, self.batch_size, self.share)
        ids = order.ids[taken.positions]
        end = min(start + self.batch_size, len(order))
        draws = self.view.draws(self._seed, self._epoch, start, end)
        buffer = BatchBuffer(
            self._decoders,
            [draws[i] for i in (taken.positions - start).tolist()],
            taken.filler,
            self._shown(order, taken.positions, ids),
            memory=self._memory,
        )
        return _PendingBatch(behind, ids, buffer, workers.fill(buffer, ids.tolist()))

    def _shown(
        self, order: SampleOrder, positions: NDArray[np.int64], ids: NDArray[np.int64]
    ) -> dict[str, NDArray[np.bool_]]:
        """Modality to True for rows that the order shows and whose samples have it."""
        shown = {name: mask[positions] for name, mask in order.shown.items()}
        for name, column in self._optional.items():
            there = self.dataset.index.counts[ids, column] > 0
            shown[name] = shown[name] & there if name in shown else there
        return shown

    def _collect(self, batch: _PendingBatch) -> Batch:
        # Waiting for all at once wakes this thread once a batch, not once a future.
        wait(batch.futures, return_when=FIRST_EXCEPTION)
        for future in batch.futures:
            self.traffic.add(future.result())
        self._position = batch.end
        return batch.buffer.to_batch(batch.ids, self.targets(batch.ids))


def _optional(dataset: ShardedDataset, decoders: Mapping[str, Decoder]) -> dict[str, int]:
    """Modalities that some sample lacks, with the columns of their parts in the index.

    Of the whole data set, so that batches of all ranks and splits have the same keys.
    """
    index = dataset.index
    columns = {name: index.parts.index(decoder.part) for name, decoder in decoders.items()}
    return {name: c for name, c in columns.items() if not index.counts[:, c].all()}


def _make_decoders(
    dataset: ShardedDataset, modalities: Sequence[str], view: View, options: StreamOptions
) -> dict[str, Decoder]:
    decoders: dict[str, Decoder] = {}
    for name, part in dataset.require(modalities).items():
        make: Callable[..., Decoder] = load(modality(name).decoder)
        decoders[name] = make(
            PartSource(
                part=part,
                place=dataset.store.url,
                view=view,
                checked=True,
                parameters=dataset.parameters(part),
                examples=partial(_read_examples, dataset, part, options),
            )
        )
    return decoders


def _read_examples(
    dataset: ShardedDataset, part: str, options: StreamOptions
) -> Generator[Bytes, None, None]:
    """Yields the first member of ``part`` of each of the first samples, without damaged ones."""
    index = dataset.index
    column = index.parts.index(part)
    with closing(MemberReader(dataset, options)) as reader:
        for sample in range(min(_EXAMPLES, len(index))):
            if not index.counts[sample, column] or not index.fits(sample, dataset.sizes):
                continue
            for job in plan(index, [Visit(sample, {part: [0]})], gap=0):
                for _, data in reader.read(job, Traffic()):
                    if data is not None:
                        yield data
