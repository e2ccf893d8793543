"""What an extension and a repair share: both rewrite the description of a finished data set.

New files are written beside the data set. When all are ready, a journal of the moves is written;
from then on, the next run completes a rewrite that was killed.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mmprep.build.plan import Plan, Task
from mmprep.build.publish import compose
from mmprep.build.shard import ShardResult
from mmprep.config import PartsConfig
from mmprep.errors import DataError
from mmprep.failure import Failure
from mmprep.format import DATASET, FAILURES, Dataset
from mmprep.format.paths import JOURNAL, STATE
from mmprep.manifest import SPLITS, Row
from mmprep.shards import Shards
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
    paths: list[str] = json.loads(store.read(JOURNAL))
    if store.size(NEW + DATASET) is not None:
        store.delete(DATASET)
    for path in paths:
        if store.size(NEW + path) is not None:
            store.move(NEW + path, path)
    store.delete(JOURNAL)


def check_files(store: Store, dataset: Dataset) -> None:
    """Raises `DataError` for a damaged index or list of failures.

    Both are written anew from their content, which would give damaged data a valid checksum.
    """
    for path, expected in dataset.files.items():
        if hashlib.sha256(store.read(path)).hexdigest() != expected:
            raise DataError(f"{store.url}/{path}: damaged; nothing was changed. Build anew")


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
        ids = {name: number for number, name in enumerate(index.shards)}
        names = sorted({name.removesuffix(".tar") for name in ids} | set(failed), key=split_order)
        for name in names:
            number = ids.get(f"{name}.tar")
            rows = [] if number is None else (index.shard == number).nonzero()[0].tolist()
            results[name] = ShardResult(
                task=name,
                shard=None if number is None else dataset.shards[number],
                entries=tuple(index.entry(row) for row in rows),
                labels=tuple(index.classes[index.label[row]] for row in rows),
                failures=tuple(failure for _, failure in failed[name]),
            )
    request = dataset.request
    plan = Plan(
        name=dataset.name,
        title=dataset.title,
        classes=dataset.classes,
        modalities=dataset.modalities,
        licence=dataset.licence,
        parts=PartsConfig.from_json(dict(dataset.parts)),
        raw=str(request["raw"]),
        seed=int(request["seed"]),
        shard_size=int(request["shard_size"]),
        tasks=tuple(
            Task(
                name=name, split=name.partition("/")[0], rows=tuple(row for row, _ in failed[name])
            )
            for name in names
        ),
        listed=str(request["listed"]),
        absent=tuple(absent),
        made_by=dict(dataset.made_by),
        limit=request.get("limit"),
    )
    return plan, results


def read_failures(store: Store) -> Iterator[tuple[Failure, str, Row | None]]:
    """Yields the lines of `failures.jsonl`: failure, task and row; ``""`` and None if absent.

    Raises:
        DataError: A line is malformed; the message names it.
    """
    for number, line in enumerate(store.read(FAILURES).splitlines(), 1):
        try:
            fields: dict[str, Any] = json.loads(line)
            task, row = fields.pop("task", None), fields.pop("row", None)
            failure = Failure(**fields)
            if task is None:
                yield failure, "", None
            else:
                # A task with a path of its own would be written there by a repair.
                Task(name=task, split=task.partition("/")[0], rows=())
                yield failure, task, Row.from_json(row)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise DataError(
                f"{store.url}/{FAILURES}, line {number}: damaged ({error!r})"
            ) from error


def split_order(name: str) -> tuple[int, str]:
    """Sort key that gives tasks and shards the order of the index."""
    return SPLITS.index(name.partition("/")[0]), name
