"""Verification of every byte of a data set against its index, checksums and root hash."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, Final

import numpy as np

from mmprep.errors import DataError, StoreError
from mmprep.format import DATASET, FAILURES, INDEX, Index, ShardInfo, crc32c
from mmprep.format.fields import parse_json
from mmprep.format.paths import PLAN, STATE
from mmprep.format.placed import PlacedIndex
from mmprep.format.tar import BLOCK, SampleEntry, header, member_names, padded_size
from mmprep.shards import Shards, read_dataset
from mmprep.storage.client import WEB
from mmprep.storage.store import PARTIAL, Store

_END: Final = bytes(2 * BLOCK)
# Indexes of wids and Energon.
_SIDE_ENDINGS: Final = (".idx", ".tar.json")
_SIDE_FOLDERS: Final = (".nv-meta", ".wids")
# Most problems that are listed for one shard; a swapped shard has one for each of its samples.
_MOST: Final = 20


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A fault of a data set.

    Attributes:
        path: File in which it lies.
        key: Key of the damaged clip; None where no single clip is damaged.
        message: Description of the fault.
    """

    path: str
    key: str | None
    message: str


@dataclass(kw_only=True)
class Verdict:
    """Result of `verify`.

    Attributes:
        root: Root hash of the data set.
        samples: Number of samples in the index.
        bytes: Number of bytes that were read.
        problems: All faults; none means that every byte is as it was written.
        notes: Files that are no part of the data set and do it no harm.
    """

    root: str = ""
    samples: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(store: Store, progress: Callable[[ShardInfo], None] = lambda shard: None) -> Verdict:
    """Verifies a data set, reading every file once from start to end, without a local copy.

    Args:
        store: Place of the data set.
        progress: Called after each shard.

    Raises:
        ConfigError: There is no data set.
    """
    verdict = Verdict()
    try:
        dataset = read_dataset(store)
    except DataError as error:
        verdict.problems.append(Problem(path=DATASET, key=None, message=str(error)))
        return verdict
    verdict.root, verdict.samples = dataset.root, dataset.samples
    known = {DATASET, INDEX, FAILURES, *(shard.name for shard in dataset.shards)}
    present = _present(store, known)
    unfinished = _planned_shards(store) if PLAN in present else set()
    for path in sorted(set(present) - known):
        if _is_side_file(path):
            verdict.notes.append(f"{path}: made by another reader; not checked")
            continue
        ours = path.startswith(STATE) or path in unfinished
        # A killed extension leaves a half-written shard beside the others.
        ours = ours or (bool(unfinished) and path.rpartition("/")[2].startswith(PARTIAL))
        what = "left by an unfinished build or repair" if ours else "not ours"
        verdict.problems.append(Problem(path=path, key=None, message=what))
    verdict.problems += _small_files(store, dataset.files, present)
    with ExitStack() as stack:
        index: Index | None = None
        # Compared with a damaged index, good shards would look bad. Their hashes are still checked.
        if not any(problem.path == INDEX for problem in verdict.problems):
            try:
                index = stack.enter_context(Shards(store)).index
                verdict.problems += _counts(index, dataset.shards)
            except (DataError, StoreError) as error:
                verdict.problems.append(Problem(path=INDEX, key=None, message=str(error)))
        for shard in dataset.shards:
            verdict.problems += _shard(store, shard, index, present)
            verdict.bytes += shard.bytes
            progress(shard)
    return verdict


def _planned_shards(store: Store) -> set[str]:
    """Shards of an extension that is under way."""
    try:
        return {f"{task['name']}.tar" for task in parse_json(store.read(PLAN))["tasks"]}
    except (ValueError, KeyError, TypeError):
        return set()


def _present(store: Store, known: Iterable[str]) -> dict[str, int]:
    """Size of every file; where files cannot be listed, as on the web, of those in ``known``."""
    if store.url.partition("://")[0] in WEB:
        sizes = {path: store.size(path) for path in known}
        return {path: size for path, size in sizes.items() if size is not None}
    return dict(store.files())


def _is_side_file(path: str) -> bool:
    """Whether a file is one that other readers of tars keep beside them."""
    return path.endswith(_SIDE_ENDINGS) or any(part in _SIDE_FOLDERS for part in path.split("/"))


def _small_files(
    store: Store, hashes: Mapping[str, str], present: Mapping[str, int]
) -> Iterator[Problem]:
    for path, expected in hashes.items():
        if path not in present:
            yield Problem(path=path, key=None, message="missing")
        elif hashlib.sha256(store.read(path)).hexdigest() != expected:
            yield Problem(path=path, key=None, message="its SHA-256 is not the one in dataset.json")


def _counts(index: Index, shards: Sequence[ShardInfo]) -> Iterator[Problem]:
    if [shard.name for shard in shards] != list(index.shards):
        yield Problem(path=INDEX, key=None, message="names other shards than dataset.json")
        return
    counts = np.bincount(index.shard[index.clips], minlength=len(shards)).tolist()
    for shard, clips in zip(shards, counts, strict=True):
        if clips != shard.samples:
            message = f"the index has {clips} samples of it, dataset.json {shard.samples}"
            yield Problem(path=shard.name, key=None, message=message)


def _shard(
    store: Store, shard: ShardInfo, index: Index | None, present: Mapping[str, int]
) -> list[Problem]:
    if shard.name not in present:
        return [
            Problem(path=shard.name, key=None, message=f"missing, with {shard.samples} samples")
        ]
    problems: list[Problem] = []
    try:
        with store.open(shard.name) as file:
            reader = _Hashing(file)
            if index is not None:
                problems += _content(reader, index, shard.name)
            while reader.read(1 << 20):
                pass
    except StoreError as error:
        return [Problem(path=shard.name, key=None, message=str(error))]
    if reader.size != shard.bytes:
        message = f"{reader.size} bytes, not {shard.bytes}"
        problems.insert(0, Problem(path=shard.name, key=None, message=message))
    elif reader.digest.hexdigest() != shard.sha256 and not problems:
        message = "another shard than the one that dataset.json names"
        problems.append(Problem(path=shard.name, key=None, message=message))
    return problems[:_MOST]


def _content(reader: "_Hashing", index: Index, shard: str) -> Iterator[Problem]:
    # The headers of another tool are its own; the SHA-256 of the whole tar covers them.
    if shard not in index.shards or isinstance(index, PlacedIndex):
        return
    clips = index.clips
    rows = clips[index.shard[clips] == index.shards.index(shard)]
    for entry in index.entries(rows):
        yield from _sample(reader, entry, index.parts, shard)
    if reader.read(len(_END)) != _END:
        yield Problem(path=shard, key=None, message="the end of the archive")


def _sample(
    reader: "_Hashing", entry: SampleEntry, parts: Sequence[str], shard: str
) -> Iterator[Problem]:
    """Compares one clip with the bytes that the index demands: headers, data and padding."""
    if entry.start != reader.size:
        message = f"begins at byte {reader.size}, the index says {entry.start}"
        yield Problem(path=shard, key=entry.key, message=message)
    names = (
        name
        for part, count in zip(parts, entry.counts, strict=True)
        for name in member_names(entry.key, part, count, questions=bool(entry.answers))
    )
    for name, size, crc in zip(names, entry.sizes, entry.crcs, strict=True):
        block = reader.read(BLOCK + padded_size(size))
        if block[:BLOCK] != header(name, size):
            yield Problem(path=shard, key=entry.key, message=f"the tar header of {name}")
        if crc32c(block[BLOCK : BLOCK + size]) != crc:
            yield Problem(path=shard, key=entry.key, message=f"the bytes of {name}")
        elif block[BLOCK + size :].strip(b"\0"):
            yield Problem(path=shard, key=entry.key, message=f"the padding behind {name}")


class _Hashing:
    """A file whose hash and size are computed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        self.size += len(data)
        return data
