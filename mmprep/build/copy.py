"""Copies a data set between disks and buckets, and checks every byte on the way.

All state lies in the destination: `_build/copy.json` names the data set that is being copied, a
shard appears there whole or not at all, and `dataset.json` is written last.
"""

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Final, TypeVar

from mmprep.build.lock import LOCK, hold_lock
from mmprep.build.state import clear, forget_state
from mmprep.errors import ConfigError, DataError
from mmprep.format import DATASET, Dataset
from mmprep.format.paths import COPY, PLAN
from mmprep.shards import read_dataset
from mmprep.storage.store import BucketStore, LocalStore, Store

_CHUNK: Final = 8 << 20
_AHEAD: Final = 2
_T = TypeVar("_T")
# Called from any thread with the number of bytes that were sent, or that were there already.
CountBytes = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a data set, as `dataset.json` lists it.

    Attributes:
        path: Path relative to the data set.
        sha256: Digest of the content.
        bytes: Size of a shard; None for the other files, whose size is not recorded.
    """

    path: str
    sha256: str
    bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class CopyReport:
    """Outcome of a copy; of a dry run, what the copy would do.

    Attributes:
        dataset: Description of the copied data set.
        sent: Paths of the files that the destination lacked or held damaged.
        bytes: Size of the shards among them.
        whole: Number of files that the destination had already, with the right bytes.
    """

    dataset: Dataset
    sent: tuple[str, ...]
    bytes: int
    whole: int


def copy(
    source: Store,
    target: Store,
    *,
    workers: int | None = None,
    force: bool = False,
    dry_run: bool = False,
    begin: Callable[[int], CountBytes] = lambda total: lambda done: None,
) -> CopyReport:
    """Copies the data set at ``source`` to ``target``; continues an earlier copy.

    Args:
        source: Store with a complete data set.
        target: Store that is empty or holds an earlier copy of the same data set, finished or not.
        workers: Number of files that are sent at a time; by default one for each core.
        force: Whether to remove another data set, finished or not, from ``target`` first.
        dry_run: Whether to change nothing and only report what would be sent.
        begin: Function that starts a progress display. It takes the size of all shards and returns
            a function that is called with the number of bytes that were copied.

    Raises:
        ConfigError: There is no data set at ``source``, or ``target`` holds other files.
        DataError: A file of the source is damaged; that file was not copied.
        StoreError: A disk or bucket refused.
    """
    if _is_same_place(source, target):
        raise ConfigError(f"{target.url} is the data set itself; choose another DST")
    dataset = read_dataset(source)
    files = [
        *(File(path=s.name, sha256=s.sha256, bytes=s.bytes) for s in dataset.shards),
        *(File(path=path, sha256=sha256) for path, sha256 in dataset.files.items()),
    ]
    count_bytes = begin(sum(shard.bytes for shard in dataset.shards))
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as threads:
        if dry_run:
            present_sizes = _files_of_earlier_copy(target, dataset, force=force)
            missing = _incomplete_files(files, target, present_sizes, threads, count_bytes)
            return _make_report(dataset, files, missing)
        with hold_lock(target):
            present_sizes = _files_of_earlier_copy(target, dataset, force=force)
            if present_sizes is None and not clear(target):
                raise ConfigError(
                    f"{target.url} holds files that are no data set ({min(_files_at(target))}); "
                    "--force does not remove them. Choose another DST"
                )
            missing = _incomplete_files(files, target, present_sizes, threads, count_bytes)
            if not missing and target.size(DATASET) is not None:
                forget_state(target)
                return _make_report(dataset, files, missing)
            target.write(COPY, json.dumps({"root": dataset.root}).encode())
            _run_for_each(lambda file: _send(source, target, file, count_bytes), missing, threads)
            target.write(DATASET, dataset.to_json().encode())
            forget_state(target)
    return _make_report(dataset, files, missing)


def _is_same_place(source: Store, target: Store) -> bool:
    if isinstance(source, LocalStore) and isinstance(target, LocalStore):
        return source.root.resolve() == target.root.resolve()
    if isinstance(source, BucketStore) and isinstance(target, BucketStore):
        # A bucket of one name on two servers is two buckets.
        return (source.url, source.endpoint) == (target.url, target.endpoint)
    return source.url == target.url


def _files_of_earlier_copy(
    target: Store, dataset: Dataset, *, force: bool
) -> dict[str, int] | None:
    """Sizes of the files of an earlier copy of ``dataset``; None if the target must be cleared.

    Raises:
        ConfigError: The target holds other files, and ``force`` is not set.
    """
    present = _files_at(target)
    if not present:
        return {}
    if DATASET in present:
        try:
            root = read_dataset(target).root
        except DataError:
            root = "damaged"
        what = f"holds another data set (root {root[:12]}, not {dataset.root[:12]})"
    elif COPY in present:
        root = _root_of(target.read(COPY))
        what = "holds an unfinished copy of another data set"
    else:
        root = ""
        begun = PLAN in present
        what = f"holds {'an unfinished build' if begun else 'other files'} ({min(present)})"
    if root == dataset.root:
        return present
    if force:
        return None
    raise ConfigError(f"{target.url} {what}; choose another DST, or remove that with --force")


def _files_at(target: Store) -> dict[str, int]:
    return {path: size for path, size in target.files() if path != LOCK}


def _root_of(journal: bytes) -> str:
    try:
        return str(json.loads(journal)["root"])
    except (ValueError, KeyError, TypeError):
        return ""


def _incomplete_files(
    files: Sequence[File],
    target: Store,
    present_sizes: dict[str, int] | None,
    threads: ThreadPoolExecutor,
    count_bytes: CountBytes,
) -> list[File]:
    """Those of ``files`` that ``target`` lacks or holds damaged.

    A file of the right size is read and hashed, since its content may still be wrong.
    """
    sizes = present_sizes or {}

    def is_whole(file: File) -> bool:
        size = sizes.get(file.path)
        if size is None or file.bytes not in (None, size):
            return False
        digest = hashlib.sha256()
        for chunk in _chunks(target, file.path, size):
            digest.update(chunk)
        matches = digest.hexdigest() == file.sha256
        if matches:
            count_bytes(file.bytes or 0)
        return matches

    verdicts = _run_for_each(is_whole, files, threads)
    return [file for file, complete in zip(files, verdicts, strict=True) if not complete]


def _send(source: Store, target: Store, file: File, count_bytes: CountBytes) -> None:
    size = source.size(file.path)
    if size is None or file.bytes not in (None, size):
        problem = "missing" if size is None else f"{size} bytes, not {file.bytes}"
        raise _damage_error(source, file, problem)
    target.put(file.path, _verified_chunks(source, file, size, count_bytes))


def _verified_chunks(
    source: Store, file: File, size: int, count_bytes: CountBytes
) -> Iterator[bytes]:
    """Yields the bytes of ``file``; raises `DataError` at the end if their digest is wrong.

    The store publishes a file only when this generator ends, so damaged bytes never appear.
    """
    digest = hashlib.sha256()
    for chunk in _chunks(source, file.path, size):
        digest.update(chunk)
        yield chunk
        count_bytes(len(chunk) if file.bytes is not None else 0)
    if digest.hexdigest() != file.sha256:
        raise _damage_error(source, file, f"its SHA-256 is not the one in {DATASET}")


def _damage_error(source: Store, file: File, problem: str) -> DataError:
    return DataError(
        f"{source.url}/{file.path}: {problem}; it was not copied. "
        f"`mmprep verify {source.url}` names the damaged samples"
    )


def _chunks(store: Store, path: str, size: int) -> Iterator[bytes]:
    """Yields the bytes of a file, reading the next chunks while the last one is hashed and sent."""
    # Ranges of a known size need no request for the size, and none outlasts the client's timeout.
    with ThreadPoolExecutor(_AHEAD) as reads:
        ahead: deque[Future[bytes]] = deque()
        for start in range(0, size, _CHUNK):
            ahead.append(reads.submit(store.read, path, start, min(start + _CHUNK, size)))
            if len(ahead) > _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _run_for_each(
    work: Callable[[File], _T], files: Sequence[File], threads: ThreadPoolExecutor
) -> list[_T]:
    """Results of ``work`` for every file, in order; the first error cancels what has not begun."""
    futures = [threads.submit(work, file) for file in files]
    try:
        for future in as_completed(futures):
            future.result()
    finally:
        for future in futures:
            future.cancel()
    return [future.result() for future in futures]


def _make_report(dataset: Dataset, files: Sequence[File], missing: Sequence[File]) -> CopyReport:
    return CopyReport(
        dataset=dataset,
        sent=tuple(file.path for file in missing),
        bytes=sum(file.bytes or 0 for file in missing),
        whole=len(files) - len(missing),
    )
