"""A data set that mmprep has built, on disk or in a bucket: description, index, modalities."""

import hashlib
import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from mmprep.errors import DataError as PreparationError
from mmprep.errors import StoreError
from mmprep.format import DATASET, INDEX, Dataset, Index
from mmprep.storage.store import LocalStore, Store, open_store
from mmtrain.data.reading.cache import Cache
from mmtrain.errors import ConfigError, DataError, UnknownName

# Modality to the part of the shards that it is read from.
PARTS: Final[Mapping[str, str]] = {
    "audio": "spectrogram",
    "visual": "frames",
    "flow": "flow",
    "difference": "difference",
    "depth": "depth",
}
_CHUNK: Final = 8 << 20
_TRIES: Final = 3
_T = TypeVar("_T")

log = logging.getLogger(__name__)


class ShardedDataset:
    """What `open_dataset` returns. A sample's id is its row in the index.

    Attributes:
        store: Where the shards lie.
        description: What `dataset.json` says.
        index: The rows of `index.h5`, mapped, not read.
        sizes: Shard to its bytes.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.description = _again(store, lambda: _describe(store))
        self._remove: Callable[[], object] = lambda: None
        self._pid = os.getpid()
        self._caches: dict[tuple[Path, int], Cache] = {}
        if isinstance(store, LocalStore):
            path = store.root / INDEX
        else:
            folder = Path(tempfile.mkdtemp(prefix="mmtrain-"))
            self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            sha256 = self.description.files.get(INDEX)
            path = _again(store, lambda: _fetched(store, folder, sha256))
        self.index = Index.open(path)
        self.sizes = {shard.name: shard.bytes for shard in self.description.shards}
        if list(self.index.shards) != list(self.sizes):
            raise DataError(f"{store.url}/{INDEX}: names other shards than {DATASET}")
        if len(self.index) != self.description.samples:
            raise DataError(
                f"{store.url}: {INDEX} has {len(self.index)} samples and {DATASET} "
                f"{self.description.samples}; run `mmprep verify`"
            )

    def __reduce__(self) -> tuple[type[Self], tuple[Store]]:
        # A worker process maps the index anew; its columns are never copied.
        return type(self), (self.store,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.index)

    def close(self) -> None:
        """Removes the local copy of a bucket's index; so does the end of the process."""
        self._remove()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their ids."""
        return self.index.classes

    @property
    def splits(self) -> dict[str, int]:
        """Split to its number of samples."""
        return {name: split.samples for name, split in self.description.splits.items()}

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities whose part the shards have; those of the data set's own list first."""
        own = self.description.modalities
        named = (*own, *(m for m in PARTS if m not in own))
        return tuple(m for m in named if PARTS.get(m) in self.index.parts)

    @property
    def targets(self) -> NDArray[np.uint16]:
        """(n,) class of each sample, by id."""
        return self.index.label

    def ids(self, split: str) -> NDArray[np.int64]:
        """Ids of the samples of ``split``, in the order in which they lie in the shards.

        Raises:
            UnknownName: No such split.
        """
        if split not in self.index.splits:
            raise UnknownName("split", split, self.index.splits)
        return np.flatnonzero(self.index.split == self.index.splits.index(split))

    def key(self, sample: int) -> str:
        """Key of the sample with this id."""
        return bytes(self.index.key[sample]).decode()

    def parameters(self, part: str) -> dict[str, Any]:
        """The parameters with which mmprep made ``part``; empty where it has none."""
        return dict(self.description.parts.get(part, {}))

    def require(self, modalities: Iterable[str]) -> dict[str, str]:
        """Modality to the part that holds it.

        Raises:
            UnknownName: No such modality.
            ConfigError: The shards lack its part; names what they have.
        """
        parts = {}
        for modality in modalities:
            if modality not in PARTS:
                raise UnknownName("modality", modality, PARTS)
            parts[modality] = part = PARTS[modality]
            if part not in self.index.parts:
                have = ", ".join(f"{m} ({PARTS[m]})" for m in self.modalities)
                raise ConfigError(
                    f"{self.store.url}: no part {part!r} for the modality {modality!r}; the shards "
                    f"have {have}. Choose among them, or build again with {part} in --parts"
                )
        if not parts:
            raise ConfigError(
                f"no modality asked for; the shards have {', '.join(self.modalities)}"
            )
        return parts

    def cache(self, folder: Path, limit: int) -> Cache:
        """What keeps members in ``folder``; the same for all streams of this process.

        Args:
            folder: On a local disk; made if it is not there.
            limit: Bytes of the whole folder.
        """
        if (folder, limit) not in self._caches:
            made = Cache(folder, limit, self.description.root, self.index)
            self._caches[folder, limit] = made
        return self._caches[folder, limit]

    def check_process(self) -> None:
        """Refuses a forked child where the data lie in a bucket: obstore hangs there.

        Raises:
            ConfigError: Says how to start the workers.
        """
        if os.getpid() != self._pid and not isinstance(self.store, LocalStore):
            raise ConfigError(
                f"{self.store.url}: the bucket's client cannot be used in a forked process; "
                "iterate in this one (its threads are the workers), or give the DataLoader "
                "multiprocessing_context='forkserver'"
            )


def open_dataset(
    place: str | Path | Store, *, endpoint: str | None = None, anonymous: bool = False
) -> ShardedDataset:
    """Opens a data set that mmprep has built.

    Args:
        place: Folder, ``s3://bucket/prefix``, ``gs://``, ``az://``, ``https://``, or a store.
        endpoint: Address of an S3-compatible server; ``AWS_ENDPOINT_URL`` by default.
        anonymous: Use no credentials, as public buckets allow.

    Raises:
        ConfigError: Nothing there, or a build that has not finished.
        DataError: Not a data set of this format.
    """
    if isinstance(place, (str, Path)):
        return ShardedDataset(open_store(str(place), endpoint=endpoint, anonymous=anonymous))
    return ShardedDataset(place)


def _again(store: Store, read: Callable[[], _T]) -> _T:
    """What ``read`` gives; from a bucket it may take a few tries, for bytes get lost on the way."""
    tries = 1 if isinstance(store, LocalStore) else _TRIES
    for _ in range(tries - 1):
        try:
            return read()
        except (DataError, PreparationError, StoreError) as error:
            log.warning("%s; reading it again", error)
    return read()


def _describe(store: Store) -> Dataset:
    if store.size(DATASET) is None:
        raise ConfigError(
            f"{store.url}: no {DATASET}; not a data set, or a build that has not finished (run the "
            "same `mmprep build` again). Shards of other tools stream by `ForeignStream`"
        )
    try:
        text = store.read(DATASET).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{store.url}/{DATASET}: not UTF-8; it was changed or damaged") from error
    return Dataset.from_json(text, f"{store.url}/{DATASET}")


def _fetched(store: Store, folder: Path, sha256: str | None) -> Path:
    """Copies the index by chunks, for it need not fit in memory, and checks its hash."""
    digest, path = hashlib.sha256(), folder / INDEX
    with store.open(INDEX) as source, path.open("wb") as file:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    if sha256 is not None and digest.hexdigest() != sha256:
        raise DataError(f"{store.url}/{INDEX}: does not fit {DATASET}; run `mmprep verify`")
    return path
