"""Shards without an index, made by other tools: read from end to end through `webdataset`.

What lies in them is not known beforehand, so there is one order only, and every rank reads all of
it; each decodes its own share. Frames, crops and flips are drawn as in `OrderedStream`.
"""

import logging
import re
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from tarfile import TarError
from typing import Any, Final, NamedTuple, TypeAlias, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from mmprep.storage.store import Store
from mmtrain.data.batches.buffer import Slab
from mmtrain.data.batches.decode import Decoder, array_header, decoder
from mmtrain.data.batches.view import View
from mmtrain.data.dataset import PARTS
from mmtrain.data.order import Share, slots
from mmtrain.data.reading.local import Bytes
from mmtrain.data.reading.options import Loading
from mmtrain.errors import ConfigError, DataError, UnknownName
from mmtrain.types import Batch

log = logging.getLogger(__name__)

# A sample as webdataset groups it: ``__key__``, ``__url__``, then suffix to bytes.
_Fields: TypeAlias = Mapping[str, Any]
_FIELDS: Final = {
    "audio": r"(.*\.)?npy",
    "visual": r"(frame\d*\.)?jpe?g",
    "flow": r"flow\d*\.jpe?g",
    "difference": r"difference\d*\.jpe?g",
    "depth": r"depth\d*\.jpe?g",
}
_LABELS: Final = r"cls|json"
_ALONE: Final = Share()
_LOADING: Final = Loading()


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the members of foreign shards are.

    Attributes:
        classes: Class names in the order of their ids, where ``KEY.json`` names the ``label``; a
            number there, or in ``KEY.cls``, is the id.
        fields: Modality to a pattern of what follows ``KEY.``; several members of a clip are taken
            by name.
        flow_fields: Fields of motion in each picture of flow.
    """

    classes: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=lambda: dict(_FIELDS))
    flow_fields: int = 1


class ForeignState(TypedDict):
    """Where a foreign stream stands."""

    seed: int
    epoch: int
    position: int


class _Ahead(NamedTuple):
    end: int
    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    slab: Slab
    work: list[Future[None]]


class ForeignStream(IterableDataset[Batch]):
    """Streams shards from first to last; the id of a sample is its number in that order.

    Args:
        store: Where the shards lie: `mmprep.storage.store.open_store(url)`.
        modalities: What to show.
        batch_size: Samples a step, of all ranks together.
        view: How pictures are shown.
        layout: What the members are.
        loading: Threads; ``skip_damaged`` also passes over shards that end early.

    Attributes:
        share: This rank.
        shards: Paths of the shards, in order.
        skipped: Key of each sample that was skipped as damaged, and why.

    Raises:
        ConfigError: No shards there.
        UnknownName: A modality without a pattern.
    """

    def __init__(
        self,
        store: Store,
        modalities: Sequence[str],
        batch_size: int,
        view: View,
        layout: Layout | None = None,
        loading: Loading = _LOADING,
    ) -> None:
        self.store, self.batch_size, self.view = store, batch_size, view
        self.layout, self.loading = layout or Layout(), loading
        self.shards = sorted(path for path, _ in store.files() if path.endswith(".tar"))
        if not self.shards:
            raise ConfigError(f"{store.url}: no .tar files")
        for modality in modalities:
            if modality not in self.layout.fields or modality not in PARTS:
                raise UnknownName("modality", modality, self.layout.fields)
        self.modalities = tuple(modalities)
        self.share = _ALONE
        self.skipped: dict[str, str] = {}
        self._state: ForeignState = {"seed": 0, "epoch": 0, "position": 0}

    def begin(self, *, seed: int, epoch: int, position: int = 0) -> None:
        """Starts a pass; iterating then gives the samples from ``position`` on."""
        self._state = {"seed": seed, "epoch": epoch, "position": position}

    def state_dict(self) -> ForeignState:
        """Where the stream stands, behind the batch that it gave last."""
        return {**self._state}

    def load_state_dict(self, state: ForeignState) -> None:
        """Goes to where another stream stood."""
        self._state = {**state}

    def __iter__(self) -> Iterator[Batch]:
        """What is left of the pass.

        Raises:
            ConfigError: The shards lack a modality, or it is a worker process.
            DataError: A damaged shard or sample; names it.
        """
        if get_worker_info() is not None:
            raise ConfigError("iterate over foreign shards in the training process, not in workers")
        cv2.setNumThreads(1)
        start = self._state["position"]
        samples = islice(self._samples(), start, None)
        decoders: dict[str, Decoder] = {}
        ahead: deque[_Ahead] = deque()
        pool = ThreadPoolExecutor(self.loading.decoders, "mmtrain-foreign")
        try:
            while chunk := list(islice(samples, self.batch_size)):
                decoders = decoders or self._decoders(chunk[0])
                ahead.append(self._start(decoders, start, chunk, pool))
                start += len(chunk)
                if len(ahead) > self.loading.ahead:
                    yield self._finish(ahead.popleft())
            while ahead:
                yield self._finish(ahead.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _samples(self) -> Iterator[_Fields]:
        from webdataset.tariterators import group_by_keys, tar_file_expander

        wanted = re.compile("|".join(f"({self.layout.fields[m]})" for m in self.modalities))
        labels = re.compile(_LABELS)

        current = refused = ""

        def select(member: str) -> bool:
            nonlocal refused
            folder, _, name = member.rpartition("/")
            if member.startswith("/") or ".." in folder.split("/"):
                refused = f"{self.store.url}/{current}: member {member!r} leads out of the shard"
                raise DataError(refused)
            suffix = name.partition(".")[2].lower()
            return bool(wanted.fullmatch(suffix) or labels.fullmatch(suffix))

        def passed(error: Exception) -> bool:
            if not self.loading.skip_damaged:
                raise error
            log.warning("skipped the rest of a shard: %s/%s: %s", self.store.url, current, error)
            return True

        def opened() -> Generator[dict[str, Any], None, None]:
            nonlocal current
            for current in self.shards:
                self._check_end(current)
                with self.store.open(current) as stream:
                    yield {"url": current, "stream": stream}

        try:
            # The shard is closed here, for errors that came through webdataset hold on to its file.
            with closing(opened()) as shards:
                files = tar_file_expander(shards, handler=passed, select_files=select)
                yield from group_by_keys(files)
        except (TarError, EOFError, OSError, ValueError) as error:
            raise DataError(f"{self.store.url}/{current}: damaged ({_reason(error)})") from error
        except DataError as error:
            raise DataError(f"{refused}; refused" if refused else str(error)) from None

    def _check_end(self, shard: str) -> None:
        """Looks for the empty block that ends every archive; reading would stop short unseen."""
        size = self.store.size(shard) or 0
        if size < 512 or any(self.store.read(shard, size - 512, size)):
            reason = f"{self.store.url}/{shard}: damaged (it ends early)"
            if not self.loading.skip_damaged:
                raise DataError(reason)
            log.warning("skipped the rest of a shard: %s", reason)

    def _decoders(self, sample: _Fields) -> dict[str, Decoder]:
        sound = (0, 0)
        made = {}
        for modality in self.modalities:
            names = self._named(sample, modality)
            if not names:
                have = sorted(name for name in sample if not name.startswith("__"))
                raise ConfigError(
                    f"{self._place(sample)}: nothing fits the modality {modality!r} "
                    f"({self.layout.fields[modality]}); of the members asked for it has "
                    f"{', '.join(have) or 'none'}. Give a Layout with other fields"
                )
            if PARTS[modality] == "spectrogram":
                shape = array_header(_bytes(sample[names[0]]))[1]
                if len(shape) != 2:
                    raise ConfigError(f"{self._place(sample)}: {names[0]} has shape {shape}")
                sound = shape[0], shape[1]
            fields = self.layout.flow_fields
            made[modality] = decoder(
                PARTS[modality], self.view, sound=sound, fields=fields, checked=False
            )
        return made

    def _start(
        self,
        decoders: Mapping[str, Decoder],
        start: int,
        chunk: list[_Fields],
        pool: ThreadPoolExecutor,
    ) -> _Ahead:
        taken = slots(start + len(chunk), start, self.batch_size, self.share)
        seed, epoch = self._state["seed"], self._state["epoch"]
        positions = taken.positions.tolist()
        draws = self.view.draws(seed, epoch, start, start + len(chunk))
        draws = [draws[p - start] for p in positions]
        slab = Slab(decoders, draws, taken.filler, {}, pin=self.loading.pin)
        targets = np.zeros(len(positions), np.int64)
        work = [
            pool.submit(self._work, slab, row, chunk[p - start], targets)
            for row, p in enumerate(positions)
        ]
        return _Ahead(start + len(chunk), taken.positions, targets, slab, work)

    def _finish(self, made: _Ahead) -> Batch:
        for future in made.work:
            future.result()
        self._state["position"] = made.end
        return made.slab.batch(made.ids, made.targets)

    def _work(self, slab: Slab, row: int, sample: _Fields, targets: NDArray[np.int64]) -> None:
        try:
            targets[row] = self._target(sample)
            names = {PARTS[m]: self._named(sample, m) for m in self.modalities}
            counts = {part: len(found) for part, found in names.items()}
            for part, ordinals in slab.members(row, counts).items():
                for place, ordinal in enumerate(ordinals):
                    slab.decode(row, part, place, _bytes(sample[names[part][ordinal]]))
        except (DataError, IndexError) as error:
            reason = f"{self._place(sample)} {error}"
            if not self.loading.skip_damaged:
                raise DataError(reason) from error
            log.warning("skipped: %s", reason)
            self.skipped[sample["__key__"]] = reason
            slab.give_up(row)

    def _named(self, sample: _Fields, modality: str) -> list[str]:
        pattern = re.compile(self.layout.fields[modality])
        return sorted(name for name in sample if pattern.fullmatch(name))

    def _target(self, sample: _Fields) -> int:
        import json

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


def _bytes(data: bytes) -> Bytes:
    return np.frombuffer(data, np.uint8)


def _reason(error: Exception) -> str:
    """What it says, without what webdataset adds."""
    said = next((arg for arg in error.args if isinstance(arg, str)), type(error).__name__)
    return said.partition(" @ ")[0]
