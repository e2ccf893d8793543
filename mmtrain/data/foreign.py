"""Streams shards without an index, made by other tools, from end to end through `webdataset`.

Their content is not known beforehand, so there is one order only, and every rank reads all of it;
each decodes its own share. Frames, crops and flips are drawn as in `OrderedStream`.
"""

import json
import logging
import math
import re
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from tarfile import TarError
from typing import Any, Final, NamedTuple, TypeAlias, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset

from mmprep.storage.store import Store
from mmtrain.data.batches.buffer import BatchBuffer
from mmtrain.data.batches.decode import Decoder, PartSource
from mmtrain.data.batches.memory import BatchMemory
from mmtrain.data.batches.view import View
from mmtrain.data.loops import refuse_collating, refuse_worker_process
from mmtrain.data.order import Share, slots
from mmtrain.data.reading.local import Bytes
from mmtrain.data.reading.options import StreamOptions
from mmtrain.errors import ConfigError, DataError, UnknownName
from mmtrain.fields import check_fields, one_of
from mmtrain.modalities import MODALITIES, load, modality, parts_of
from mmtrain.types import Batch

log = logging.getLogger(__name__)

# Sample as webdataset groups it: ``__key__``, ``__url__``, then suffix to bytes.
_Fields: TypeAlias = Mapping[str, Any]
# Truth of a sample: its class, its score or the classes of its segments; None for a skipped one.
Target: TypeAlias = int | float | tuple[int, ...] | None
_LABELS: Final = r"cls|json"
_ALONE: Final = Share()
_DEFAULTS: Final = StreamOptions()


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Meaning of the members of foreign shards.

    Attributes:
        classes: Class names in the order of their ids, for shards whose ``KEY.json`` has the
            ``label`` as a name; a number there, or in ``KEY.cls``, is the id itself.
        fields: Modality to a pattern of the names of its members, behind ``KEY.``; several members
            of a clip are sorted by name.
        flow_fields: Number of fields (u, v) in each picture of flow.
        optional: Modalities that a sample may lack; it is blank there and does not show them. Any
            other modality that it lacks is damage.
        target: Meaning of a sample's truth: ``label`` is its class, as above; ``score`` the one
            number of ``target`` in ``KEY.json``; ``segments`` the classes there, one for each
            segment and in each sample as many.
    """

    classes: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(
        default_factory=lambda: {name: each.members for name, each in MODALITIES.items()}
    )
    flow_fields: int = 1
    target: str = one_of("label", "score", "segments")
    optional: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)


class ForeignState(TypedDict):
    """Position of a foreign stream; see `mmtrain.data.stream.StreamState`."""

    seed: int
    epoch: int
    position: int


class _PendingBatch(NamedTuple):
    """Batch that threads are filling; ``end`` is the position behind its last sample."""

    end: int
    ids: NDArray[np.int64]
    targets: list[Target]
    buffer: BatchBuffer
    futures: list[Future[None]]


class ForeignStream(IterableDataset[Batch]):
    """Streams shards from first to last; the id of a sample is its number in that order.

    Args:
        store: Store of the shards, as `mmprep.storage.store.open_store(url)` returns it.
        modalities: Names of the modalities to show.
        batch_size: Samples a step, of all ranks together.
        view: Frames, crop and flip of pictures.
        layout: Meaning of the members.
        options: Threads and memory; ``skip_damaged`` also passes over shards that end early.

    Attributes:
        share: Rank whose part of each step is streamed; may be set before iterating.
        shards: Paths of the shards, in order.
        skipped: Key of each sample that was skipped as damaged, to the reason.

    Raises:
        ConfigError: The store has no shards.
        UnknownName: A modality has no pattern in ``layout``.
    """

    def __init__(
        self,
        store: Store,
        modalities: Sequence[str],
        batch_size: int,
        view: View,
        layout: Layout | None = None,
        options: StreamOptions = _DEFAULTS,
    ) -> None:
        self.store, self.batch_size, self.view = store, batch_size, view
        self.layout, self.options = layout or Layout(), options
        self.shards = sorted(path for path, _ in store.files() if path.endswith(".tar"))
        if not self.shards:
            raise ConfigError(f"{store.url}: no .tar files")
        for name in modalities:
            if name not in self.layout.fields:
                raise UnknownName("modality", name, self.layout.fields)
        self._parts = parts_of(modalities)
        refuse_collating()
        self.modalities = tuple(modalities)
        self.share = _ALONE
        self.skipped: dict[str, str] = {}
        self._memory = BatchMemory(options)
        self._iterated = False
        self._state: ForeignState = {"seed": 0, "epoch": 0, "position": 0}

    def begin(self, *, seed: int, epoch: int, position: int = 0) -> None:
        """Starts a pass.

        Args:
            seed: Seed of frames, crops and flips.
            epoch: Number of the epoch, on which they depend too.
            position: Number of samples that were handed out before, and are left out.
        """
        self._state = {"seed": seed, "epoch": epoch, "position": position}
        self._iterated = False

    def state_dict(self) -> ForeignState:
        """Returns the position of the stream, behind the batch that it handed out last."""
        return {**self._state}

    def load_state_dict(self, state: ForeignState) -> None:
        """Moves to the position of another stream."""
        self._state = {**state}
        self._iterated = False

    def __iter__(self) -> Iterator[Batch]:
        """Yields the batches of the pass that are left.

        Raises:
            ConfigError: The shards lack a modality, this pass was iterated over already, or the
                caller is a worker process.
            DataError: A shard or sample is damaged; names it.
        """
        refuse_worker_process()
        if self._iterated:
            raise ConfigError(
                "this pass was iterated over already; call begin(seed=..., epoch=...) before each "
                "further one"
            )
        self._iterated = True
        return self._batches()

    def _batches(self) -> Iterator[Batch]:
        cv2.setNumThreads(1)
        start = self._state["position"]
        samples = islice(self._samples(), start, None)
        make_buffer: Callable[..., BatchBuffer] | None = None
        pending: deque[_PendingBatch] = deque()
        pool = ThreadPoolExecutor(self.options.decoders, "mmtrain-foreign")
        try:
            while chunk := list(islice(samples, self.batch_size)):
                # From the first samples, since nothing else describes what the shards hold.
                if make_buffer is None:
                    make_buffer = partial(
                        BatchBuffer, self._make_decoders(chunk), memory=self._memory
                    )
                pending.append(self._submit(make_buffer, start, chunk, pool))
                start += len(chunk)
                if len(pending) > self.options.ahead:
                    yield self._collect(pending.popleft())
            while pending:
                yield self._collect(pending.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _samples(self) -> Iterator[_Fields]:
        from webdataset.tariterators import group_by_keys, tar_file_expander

        wanted = re.compile("|".join(f"({self.layout.fields[m]})" for m in self.modalities))
        labels = re.compile(_LABELS)

        # Names for messages: the shard that is open, and the member that was refused.
        current = refused = ""

        def select(member: str) -> bool:
            nonlocal refused
            folder, _, name = member.rpartition("/")
            if member.startswith("/") or ".." in folder.split("/"):
                refused = f"{self.store.url}/{current}: member {member!r} leads out of the shard"
                raise DataError(refused)
            suffix = name.partition(".")[2].lower()
            return bool(wanted.fullmatch(suffix) or labels.fullmatch(suffix))

        def skip_or_raise(error: Exception) -> bool:
            if not self.options.skip_damaged:
                raise error
            log.warning("skipped the rest of a shard: %s/%s: %s", self.store.url, current, error)
            return True

        def open_shards() -> Generator[dict[str, Any], None, None]:
            nonlocal current
            for current in self.shards:
                self._check_end(current)
                with self.store.open(current) as stream:
                    yield {"url": current, "stream": stream}

        try:
            # The shard is closed here, for errors that came through webdataset hold on to its file.
            with closing(open_shards()) as shards:
                files = tar_file_expander(shards, handler=skip_or_raise, select_files=select)
                yield from group_by_keys(files)
        except (TarError, EOFError, OSError, ValueError) as error:
            raise DataError(f"{self.store.url}/{current}: damaged ({_reason(error)})") from error
        except DataError as error:
            raise DataError(f"{refused}; refused" if refused else str(error)) from None

    def _check_end(self, shard: str) -> None:
        """Checks that the shard ends with an empty block, as every archive does.

        `webdataset` takes an archive that was cut between two members for a whole one.
        """
        size = self.store.size(shard) or 0
        if size < 512 or any(self.store.read(shard, size - 512, size)):
            reason = f"{self.store.url}/{shard}: damaged (it ends early)"
            if not self.options.skip_damaged:
                raise DataError(reason)
            log.warning("skipped the rest of a shard: %s", reason)

    def _make_decoders(self, chunk: Sequence[_Fields]) -> dict[str, Decoder]:
        decoders: dict[str, Decoder] = {}
        for name in self.modalities:
            having = (each for each in chunk if self._members(each, name))
            sample = next(having, chunk[0]) if name in self.layout.optional else chunk[0]
            members = self._members(sample, name)
            if not members:
                have = sorted(member for member in sample if not member.startswith("__"))
                raise ConfigError(
                    f"{self._place(sample)}: nothing fits the modality {name!r} "
                    f"({self.layout.fields[name]}); of the members asked for it has "
                    f"{', '.join(have) or 'none'}. Give a Layout with other fields"
                )
            part = self._parts[name]
            make: Callable[..., Decoder] = load(modality(name).decoder)
            decoders[name] = make(
                PartSource(
                    part=part,
                    place=self._place(sample),
                    view=self.view,
                    checked=False,
                    parameters={"fields": self.layout.flow_fields} if part == "flow" else {},
                    examples=partial(_examples, sample[members[0]]),
                )
            )
        return decoders

    def _submit(
        self,
        make_buffer: Callable[..., BatchBuffer],
        start: int,
        chunk: list[_Fields],
        pool: ThreadPoolExecutor,
    ) -> _PendingBatch:
        taken = slots(start + len(chunk), start, self.batch_size, self.share)
        seed, epoch = self._state["seed"], self._state["epoch"]
        positions = taken.positions.tolist()
        draws = self.view.draws(seed, epoch, start, start + len(chunk))
        draws = [draws[p - start] for p in positions]
        shown = {
            name: np.array([bool(self._members(chunk[p - start], name)) for p in positions])
            for name in self.layout.optional
            if name in self.modalities
        }
        buffer = make_buffer(draws, taken.filler, shown)
        targets: list[Target] = [None] * len(positions)
        futures = [
            pool.submit(self._decode_sample, buffer, row, chunk[p - start], targets)
            for row, p in enumerate(positions)
        ]
        return _PendingBatch(start + len(chunk), taken.positions, targets, buffer, futures)

    def _collect(self, batch: _PendingBatch) -> Batch:
        for future in batch.futures:
            future.result()
        self._state["position"] = batch.end
        return batch.buffer.to_batch(batch.ids, self._stacked(batch.targets))

    def _decode_sample(
        self, buffer: BatchBuffer, row: int, sample: _Fields, targets: list[Target]
    ) -> None:
        try:
            targets[row] = self._target(sample)
            names = {part: self._members(sample, m) for m, part in self._parts.items()}
            counts = {part: len(members) for part, members in names.items()}
            for part, ordinals in buffer.members(row, counts).items():
                for place, ordinal in enumerate(ordinals):
                    buffer.decode(row, part, place, _as_array(sample[names[part][ordinal]]))
        except (DataError, IndexError) as error:
            reason = f"{self._place(sample)} {error}"
            if not self.options.skip_damaged:
                raise DataError(reason) from error
            log.warning("skipped: %s", reason)
            self.skipped[sample["__key__"]] = reason
            buffer.clear_row(row)

    def _members(self, sample: _Fields, name: str) -> list[str]:
        """Lists the members of the modality called ``name``, sorted."""
        pattern = re.compile(self.layout.fields[name])
        return sorted(member for member in sample if pattern.fullmatch(member))

    def _stacked(self, targets: Sequence[Target]) -> NDArray[Any]:
        """Targets of a batch; zeros for samples that were skipped.

        Raises:
            DataError: Samples have unequal numbers of segments.
        """
        known = [target for target in targets if target is not None]
        if self.layout.target != "segments":
            kind = np.int64 if self.layout.target == "label" else np.float32
            return np.array([target or 0 for target in targets], kind)
        lengths = {len(target) for target in known if isinstance(target, tuple)} or {1}
        if len(lengths) > 1:
            raise DataError(f"{self.store.url}: samples have {sorted(lengths)} segments")
        none = (0,) * lengths.pop()
        return np.array([target or none for target in targets], np.int64)

    def _target(self, sample: _Fields) -> Target:
        if self.layout.target == "label":
            return self._label(sample)
        try:
            numbers = json.loads(sample["json"])["target"]
            if self.layout.target == "segments":
                return tuple(int(number) for number in numbers)
            (score,) = map(float, numbers)
            if not math.isfinite(score):
                raise ValueError(f"{score} is no score")
            return score
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"has no {self.layout.target} as `target` in .json ({error})"
            ) from error

    def _label(self, sample: _Fields) -> int:
        try:
            if "cls" in sample:
                return int(sample["cls"])
            label = json.loads(sample["json"])["label"]
            return label if isinstance(label, int) else self.layout.classes.index(label)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"has no label: neither a number in .cls nor one of {len(self.layout.classes)} "
                f"classes as `label` in .json ({error})"
            ) from error

    def _place(self, sample: _Fields) -> str:
        return f"{self.store.url}/{sample['__url__']}: sample {sample['__key__']!r}"


def _as_array(data: bytes) -> Bytes:
    return np.frombuffer(data, np.uint8)


def _examples(data: bytes) -> Generator[Bytes, None, None]:
    yield _as_array(data)


def _reason(error: Exception) -> str:
    """Message of an error, without the address that webdataset adds."""
    message = next((arg for arg in error.args if isinstance(arg, str)), type(error).__name__)
    return message.partition(" @ ")[0]
