"""Opens a data set that mmprep has built, on disk or in a bucket: description and index."""

import hashlib
import logging
import os
import shutil
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from mmprep.format import DATASET, INDEX, Dataset
from mmprep.format.agreement import open_index
from mmprep.storage.access import RETRY_FOR_S, Access
from mmprep.storage.store import LocalStore, Store, store_at
from mmtrain.errors import ConfigError, DataError, UnknownName
from mmtrain.modalities import MODALITIES, parts_of
from mmtrain.tasks.annotations import Annotations

# Bytes of the index that are read at a time, and how many times side by side: one connection to a
# bucket gives less than 100 MB a second.
_CHUNK: Final = 4 << 20
_CHUNKS_AT_ONCE: Final = 8
# Times that description and index are read from a bucket before they count as damaged.
_TRIES: Final = 3
_T = TypeVar("_T")

log = logging.getLogger(__name__)


class ShardedDataset:
    """Data set in shards; made by `open_dataset`. A sample's id is its row in the index.

    Each question about a clip is a sample, and shares the clip's other members with the others.

    Args:
        store: Folder or bucket of the shards.

    Attributes:
        store: Folder or bucket of the shards.
        description: Content of `dataset.json`.
        index: Rows of `index.h5`, mapped into memory and read when they are used.
        sizes: Path of each shard to its size in bytes.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.description = _retry(store, lambda: _read_description(store))
        self._remove: Callable[[], object] = lambda: None
        self._pid = os.getpid()
        if isinstance(store, LocalStore):
            path = store.root / INDEX
        else:
            folder = Path(tempfile.mkdtemp(prefix="mmtrain-"))
            self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            sha256 = self.description.files.get(INDEX)
            path = _retry(store, lambda: download_index(store, folder, sha256))
        self.index = open_index(path, self.description, store.url)
        self.sizes = {shard.name: shard.bytes for shard in self.description.shards}

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
        """Removes the local copy of a bucket's index, as the end of the process would."""
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
        """Modalities whose part the shards have, beginning with those that the data set lists."""
        listed = self.description.modalities
        names = (*listed, *(m for m in MODALITIES if m not in listed))
        # A data set may list modalities that only a newer mmtrain knows.
        known = [name for name in names if name in MODALITIES]
        return tuple(name for name in known if MODALITIES[name].part in self.index.parts)

    @property
    def targets(self) -> NDArray[np.uint16]:
        """(n,) class id of each sample, by sample id."""
        return self.index.label

    @property
    def task(self) -> str:
        """Task that the labels are made for, one of `mmprep.format.dataset.TASKS`."""
        return self.description.task

    @property
    def target(self) -> NDArray[np.float32] | None:
        """(n, k) numbers to predict beside the class, by sample id; None in a data set without."""
        return self.index.target

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups by which scores are also given; empty in a data set without."""
        return self.index.groups

    @property
    def group(self) -> NDArray[np.uint16] | None:
        """(n,) group id of each sample, by sample id; None in a data set without groups."""
        return self.index.group

    @property
    def annotations(self) -> Annotations:
        """Truth of all samples, by sample id."""
        return Annotations(
            place=self.store.url,
            classes=self.classes,
            label=self.targets,
            values=self.target,
            groups=self.groups,
            group=self.group,
        )

    def ids(self, split: str) -> NDArray[np.int64]:
        """Returns the ids of the samples of ``split``, in the order in which the shards have them.

        Raises:
            UnknownName: The data set has no such split.
        """
        if split not in self.index.splits:
            raise UnknownName("split", split, self.index.splits)
        return np.flatnonzero(self.index.split == self.index.splits.index(split))

    def key(self, sample: int) -> str:
        """Key of the sample whose id is ``sample``."""
        return bytes(self.index.key[sample]).decode()

    def parameters(self, part: str) -> dict[str, Any]:
        """Parameters with which mmprep made ``part``, by name; empty if it has none."""
        return dict(self.description.parts.get(part, {}))

    def require(self, modalities: Iterable[str]) -> dict[str, str]:
        """Returns the part of each modality, and checks that the shards have it.

        Args:
            modalities: Names of modalities.

        Raises:
            UnknownName: No modality has that name.
            ConfigError: The shards lack a part, or two modalities are read from the same one.
        """
        parts = parts_of(modalities)
        for name, part in parts.items():
            if part not in self.index.parts:
                have = ", ".join(f"{m} ({MODALITIES[m].part})" for m in self.modalities)
                raise ConfigError(
                    f"{self.store.url}: no part {part!r} for the modality {name!r}; the shards "
                    f"have {have}. Choose among them, or build again with {part} in --parts"
                )
        if not parts:
            raise ConfigError(
                f"no modality asked for; the shards have {', '.join(self.modalities)}"
            )
        return parts

    def check_process(self) -> None:
        """Refuses a forked child of the process that opened a bucket: obstore would hang there.

        Raises:
            ConfigError: The process was forked after the bucket was opened.
        """
        if os.getpid() != self._pid and not isinstance(self.store, LocalStore):
            raise ConfigError(
                f"{self.store.url}: the bucket's client cannot be used in a forked process; open "
                "the data set in the process that iterates, or start it by multiprocessing's "
                "'forkserver' or 'spawn'"
            )


def open_dataset(
    place: str | Path | Store,
    *,
    endpoint: str | None = None,
    anonymous: bool = False,
    retry_for_s: float = RETRY_FOR_S,
) -> ShardedDataset:
    """Opens a data set that mmprep has built.

    Args:
        place: Folder, address (``s3://bucket/prefix``, ``gs://``, ``az://``, ``https://``) or
            store.
        endpoint: Address of an S3-compatible server; ``AWS_ENDPOINT_URL`` by default.
        anonymous: Whether no credentials are used, as public buckets allow.
        retry_for_s: Seconds for which a request that may succeed later is repeated.

    Raises:
        ConfigError: There is no data set, or its build has not finished.
        DataError: It is not a data set of this format.
    """
    if isinstance(place, (str, Path)):
        access = Access(endpoint=endpoint, anonymous=anonymous, retry_for_s=retry_for_s)
        return ShardedDataset(store_at(str(place), access))
    return ShardedDataset(place)


def _retry(store: Store, read: Callable[[], _T]) -> _T:
    """Returns what ``read`` returns; from a bucket after a few tries, since bytes get damaged.

    What a bucket refuses has been tried again by the store already.
    """
    tries = 1 if isinstance(store, LocalStore) else _TRIES
    for _ in range(tries - 1):
        try:
            return read()
        except DataError as error:
            log.warning("%s; reading it again", error)
    return read()


def _read_description(store: Store) -> Dataset:
    if store.size(DATASET) is None:
        raise ConfigError(
            f"{store.url}: no {DATASET}; not a data set, or a build that has not finished (run the "
            "same `mmprep build` again). For tars of other tools run `mmprep index`"
        )
    try:
        text = store.read(DATASET).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{store.url}/{DATASET}: not UTF-8; it was changed or damaged") from error
    return Dataset.from_json(text, f"{store.url}/{DATASET}")


def download_index(store: Store, folder: Path, sha256: str | None) -> Path:
    """Copies the index into a folder, several chunks at once, and checks its hash.

    No more than these chunks are in memory, since an index need not fit there.

    Args:
        store: Bucket that holds it.
        folder: Folder for the copy.
        sha256: Hash that it must have; None for any.

    Raises:
        DataError: It has another hash.
    """
    digest, path = hashlib.sha256(), folder / INDEX
    with path.open("wb") as file:
        for data in _read_chunks(store, INDEX):
            digest.update(data)
            file.write(data)
    if sha256 is not None and digest.hexdigest() != sha256:
        raise DataError(f"{store.url}/{INDEX}: does not fit {DATASET}; run `mmprep verify`")
    return path


def _read_chunks(store: Store, path: str) -> Iterator[bytes]:
    """Yields the bytes of a file in order, while the chunks behind them are on their way."""
    size = store.size(path)
    if size is None:
        yield store.read(path)  # Which raises, in the words of the store.
        return
    begins, pending = iter(range(0, size, _CHUNK)), deque[Future[bytes]]()
    pool = ThreadPoolExecutor(_CHUNKS_AT_ONCE, "mmtrain-index")
    try:
        while True:
            for begin in islice(begins, _CHUNKS_AT_ONCE - len(pending)):
                pending.append(pool.submit(store.read, path, begin, min(begin + _CHUNK, size)))
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
