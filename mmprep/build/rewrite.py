"""Steps that an extension and a repair share: both rewrite the description of a finished data set.

New files are written beside the data set. When all are ready, a journal of the moves is written;
from then on, the next run completes a rewrite that was killed.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mmprep.build.collection import without_collection
from mmprep.build.plan import Plan, Task, check_rows
from mmprep.build.publish import compose
from mmprep.build.shard import ShardResult
from mmprep.errors import DataError
from mmprep.failure import Failure
from mmprep.format import DATASET, FAILURES, Dataset
from mmprep.format.damage import naming_damage
from mmprep.format.fields import build, parse_json
from mmprep.format.paths import JOURNAL, STATE, safe_path, task_name
from mmprep.manifest import SPLITS, Row
from mmprep.shards import Shards, parts_config
from mmprep.storage.store import Store

NEW: Final = STATE + "new/"


def republish(plan: Plan, results: Mapping[str, ShardResult], store: Store) -> Dataset:
    """Replaces the three files of a data set by those of ``results``, and moves new shards in.

    Returns:
        The new description.
    """
    dataset, files = compose(plan, results)
    for path, data in files.items():
        store.write(NEW + path, data)
    changed = [name for name, _ in store.files() if name.startswith(NEW)]
    moves = sorted((name.removeprefix(NEW) for name in changed), key=lambda name: name == DATASET)
    store.write(JOURNAL, json.dumps(moves).encode())
    finish_moves(store)
    return dataset


def finish_moves(store: Store) -> None:
    """Moves the files that a journal names to their places, `dataset.json` last."""
    if store.size(JOURNAL) is None:
        return
    paths = _moves(store.read(JOURNAL), f"{store.url}/{JOURNAL}")
    if store.size(NEW + DATASET) is not None:
        store.delete(DATASET)
    for path in paths:
        if store.size(NEW + path) is not None:
            store.move(NEW + path, path)
    store.delete(JOURNAL)


def _moves(journal: bytes, origin: str) -> list[str]:
    """Paths of a journal.

    Raises:
        DataError: The journal is damaged, or names a file outside the data set.
    """
    with naming_damage(origin, "delete it, and run `mmprep verify`", "damaged"):
        paths = parse_json(journal)
        if not isinstance(paths, list):
            raise ValueError("no list of paths")
    return [safe_path(path, origin) for path in paths]


def check_files(store: Store, dataset: Dataset) -> None:
    """Raises `DataError` for a damaged index or list of failures.

    Both are written anew from their content, which would give damaged data a valid checksum.
    """
    for path, expected in dataset.files.items():
        if hashlib.sha256(store.read(path)).hexdigest() != expected:
            raise DataError(f"{store.url}/{path}: damaged; nothing was changed. Build anew")


@without_collection()
def reconstruct(store: Store, dataset: Dataset) -> tuple[Plan, dict[str, ShardResult]]:
    """Rebuilds plan and results of a finished build; the plan holds the failed clips alone."""
    failed: dict[str, list[tuple[Row, Failure]]] = defaultdict(list)
    absent: list[Failure] = []
    for failure, task, row in read_failures(store):
        if row is None:
            absent.append(failure)
        else:
            failed[task].append((row, failure))
    results: dict[str, ShardResult] = {}
    with Shards(store) as shards:
        index = shards.index
        clips = index.clips
        ids = {name: number for number, name in enumerate(index.shards)}
        of_index = {task_name(name.removesuffix(".tar"), store.url) for name in ids}
        names = sorted(of_index | set(failed), key=split_order)
        for name in names:
            number = ids.get(f"{name}.tar")
            rows = clips[:0] if number is None else clips[index.shard[clips] == number]
            results[name] = ShardResult(
                task=name,
                shard=None if number is None else dataset.shards[number],
                entries=tuple(index.entries(rows)),
                labels=tuple(index.own_label(row) for row in rows.tolist()),
                failures=tuple(failure for _, failure in failed[name]),
            )
    with naming_damage(f"{store.url}/{DATASET}", "build anew", "damaged"):
        request = build(_Request, dict(dataset.request))
    plan = Plan(
        name=dataset.name,
        title=dataset.title,
        classes=dataset.classes,
        modalities=dataset.modalities,
        licence=dataset.licence,
        parts=parts_config(dataset, store.url),
        raw=request.raw,
        seed=request.seed,
        shard_size=request.shard_size,
        tasks=tuple(
            Task(
                name=name, split=name.partition("/")[0], rows=tuple(row for row, _ in failed[name])
            )
            for name in names
        ),
        listed=request.listed,
        absent=tuple(absent),
        made_by=dict(dataset.made_by),
        limit=request.limit,
        task=dataset.task,
    )
    return plan, results


@dataclass(frozen=True, kw_only=True)
class _Request:
    """Settings of a build that a finished data set keeps."""

    raw: str
    seed: int
    shard_size: int
    listed: str
    limit: int | None = None


def read_failures(store: Store) -> Iterator[tuple[Failure, str, Row | None]]:
    """Yields the lines of `failures.jsonl`: failure, task and row; ``""`` and None if absent.

    Raises:
        DataError: A line is damaged, or names a file outside the data set; the message names it.
    """
    for number, line in enumerate(store.read(FAILURES).splitlines(), 1):
        yield _failed_clip(line, f"{store.url}/{FAILURES}, line {number}")


def _failed_clip(line: bytes, origin: str) -> tuple[Failure, str, Row | None]:
    with naming_damage(origin, "build anew", "damaged"):
        fields: dict[str, Any] = {**parse_json(line)}
        task, plain = fields.pop("task", None), fields.pop("row", None)
        failure = build(Failure, fields)
        if task is None:
            return failure, "", None
        row = build(Row, plain)
        check_rows([row])
    return failure, task_name(task, origin), row


def split_order(name: str) -> tuple[int, str]:
    """Sort key that gives tasks and shards the order of the index."""
    return SPLITS.index(name.partition("/")[0]), name
