"""A data set from one place to another, disk or bucket: every byte is checked on the way.

All state is in the destination: `_build/copy.json` says whose copy is under way, a shard appears
there whole or not at all, and `dataset.json` comes last.
"""

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Final, TypeVar

from mmprep.build.lock import LOCK, locked
from mmprep.build.state import clear, forget_state
from mmprep.errors import ConfigError, DataError
from mmprep.format import DATASET, Dataset
from mmprep.format.paths import COPY, PLAN
from mmprep.shards import read_dataset
from mmprep.storage.store import LocalStore, Store

_CHUNK: Final = 8 << 20
_AHEAD: Final = 2
_T = TypeVar("_T")
# Called with the bytes that were sent, or were found whole, from any thread.
Moved = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a data set, as `dataset.json` knows it; ``bytes`` is None for the small ones."""

    path: str
    sha256: str
    bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class CopyReport:
    """What a copy did, or would do.

    Attributes:
        dataset: What is copied.
        sent: Files that were not whole in the destination.
        bytes: Bytes of those of them whose size is known beforehand, the shards.
        whole: Files that were there already, with the right bytes.
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
    begin: Callable[[int], Moved] = lambda total: lambda done: None,
) -> CopyReport:
    """Copies the data set at ``source`` to ``target``, or what is left of it.

    Args:
        source: A complete data set.
        target: Empty, or an earlier copy of the same data set, finished or not.
        workers: Files on their way at a time; by default one a core.
        force: Remove another data set, or what is unfinished of one, from ``target`` first.
        dry_run: Change nothing; say what would be sent.
        begin: Called with the bytes of all shards; what it returns is called as they move.

    Raises:
        ConfigError: No data set at ``source``, or something else at ``target``.
        DataError: The source is damaged; names the file. Nothing of that file was copied.
        StoreError: A disk or bucket refused.
    """
    if _same(source, target):
        raise ConfigError(f"{target.url} is the data set itself; choose another DST")
    dataset = read_dataset(source)
    files = [
        *(File(path=s.name, sha256=s.sha256, bytes=s.bytes) for s in dataset.shards),
        *(File(path=path, sha256=sha256) for path, sha256 in dataset.files.items()),
    ]
    moved = begin(sum(shard.bytes for shard in dataset.shards))
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as threads:
        if dry_run:
            there = _there(target, dataset, force=force)
            left = _left(files, target, there, threads, moved)
            return _report(dataset, files, left)
        with locked(target):
            there = _there(target, dataset, force=force)
            if there is None and not clear(target):
                raise ConfigError(
                    f"{target.url} holds files that are no data set ({min(_present(target))}); "
                    "--force does not remove them. Choose another DST"
                )
            left = _left(files, target, there, threads, moved)
            if not left and target.size(DATASET) is not None:
                forget_state(target)
                return _report(dataset, files, left)
            target.write(COPY, json.dumps({"root": dataset.root}).encode())
            _each(lambda file: _send(source, target, file, moved), left, threads)
            target.write(DATASET, dataset.to_json().encode())
            forget_state(target)
    return _report(dataset, files, left)


def _same(source: Store, target: Store) -> bool:
    if isinstance(source, LocalStore) and isinstance(target, LocalStore):
        return source.root.resolve() == target.root.resolve()
    return source.url == target.url


def _there(target: Store, dataset: Dataset, *, force: bool) -> dict[str, int] | None:
    """Files of an earlier copy of ``dataset`` with their sizes; None where all must go first.

    Raises:
        ConfigError: Something else is there, and ``force`` does not hold.
    """
    present = _present(target)
    if not present:
        return {}
    if DATASET in present:
        try:
            found = read_dataset(target).root
        except DataError:
            found = "damaged"
        what = f"holds another data set (root {found[:12]}, not {dataset.root[:12]})"
    elif COPY in present:
        found = _root_of(target.read(COPY))
        what = "holds an unfinished copy of another data set"
    else:
        found = ""
        begun = PLAN in present
        what = f"holds {'an unfinished build' if begun else 'other files'} ({min(present)})"
    if found == dataset.root:
        return present
    if force:
        return None
    raise ConfigError(f"{target.url} {what}; choose another DST, or remove that with --force")


def _present(target: Store) -> dict[str, int]:
    return {path: size for path, size in target.files() if path != LOCK}


def _root_of(journal: bytes) -> str:
    try:
        return str(json.loads(journal)["root"])
    except (ValueError, KeyError, TypeError):
        return ""


def _left(
    files: Sequence[File],
    target: Store,
    there: dict[str, int] | None,
    threads: ThreadPoolExecutor,
    moved: Moved,
) -> list[File]:
    """Those of ``files`` that are not whole in ``target``; what may be is read and hashed."""
    sizes = there or {}

    def whole(file: File) -> bool:
        size = sizes.get(file.path)
        if size is None or file.bytes not in (None, size):
            return False
        digest = hashlib.sha256()
        for chunk in _chunks(target, file.path, size):
            digest.update(chunk)
        if found := digest.hexdigest() == file.sha256:
            moved(file.bytes or 0)
        return found

    verdicts = _each(whole, files, threads)
    return [file for file, found in zip(files, verdicts, strict=True) if not found]


def _send(source: Store, target: Store, file: File, moved: Moved) -> None:
    size = source.size(file.path)
    if size is None or file.bytes not in (None, size):
        seen = "missing" if size is None else f"{size} bytes, not {file.bytes}"
        raise _damaged(source, file, seen)
    target.put(file.path, _checked(source, file, size, moved))


def _checked(source: Store, file: File, size: int, moved: Moved) -> Iterator[bytes]:
    """The bytes of ``file``; raises in place of the end where they are not the right ones."""
    digest = hashlib.sha256()
    for chunk in _chunks(source, file.path, size):
        digest.update(chunk)
        yield chunk
        moved(len(chunk) if file.bytes is not None else 0)
    if digest.hexdigest() != file.sha256:
        raise _damaged(source, file, f"its SHA-256 is not the one in {DATASET}")


def _damaged(source: Store, file: File, seen: str) -> DataError:
    return DataError(
        f"{source.url}/{file.path}: {seen}; it was not copied. `mmprep verify {source.url}` names "
        "the samples that are hit"
    )


def _chunks(store: Store, path: str, size: int) -> Iterator[bytes]:
    """The bytes of a file, the next while the last are hashed and sent."""
    # Ranges of a known size: no request for the size, and none that lasts longer than its timeout.
    with ThreadPoolExecutor(_AHEAD) as reads:
        ahead: deque[Future[bytes]] = deque()
        for start in range(0, size, _CHUNK):
            ahead.append(reads.submit(store.read, path, start, min(start + _CHUNK, size)))
            if len(ahead) > _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _each(
    work: Callable[[File], _T], files: Sequence[File], threads: ThreadPoolExecutor
) -> list[_T]:
    """``work`` of every file, in order; the first error stops what has not begun."""
    futures = [threads.submit(work, file) for file in files]
    try:
        for future in as_completed(futures):
            future.result()
    finally:
        for future in futures:
            future.cancel()
    return [future.result() for future in futures]


def _report(dataset: Dataset, files: Sequence[File], left: Sequence[File]) -> CopyReport:
    return CopyReport(
        dataset=dataset,
        sent=tuple(file.path for file in left),
        bytes=sum(file.bytes or 0 for file in left),
        whole=len(files) - len(left),
    )
