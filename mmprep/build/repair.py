"""Decodes the failed clips of a data set again, and adds those that now succeed.

A shard that gains samples is written anew beside the data set, from its own bytes and the new
samples, in the order of the plan: the result is what an undisturbed build would have written. When
all new files are ready, a journal of the moves is written; from then on, the next run completes a
repair that was killed.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from mmprep.build.lock import hold_lock
from mmprep.build.plan import Plan, Task, rank, versions
from mmprep.build.publish import compose
from mmprep.build.shard import ShardResult
from mmprep.build.state import forget_state
from mmprep.clips.job import Job
from mmprep.clips.pool import DecoderPool, Outcome
from mmprep.clips.sample import Sample
from mmprep.config import PartsConfig
from mmprep.errors import ConfigError, DataError
from mmprep.failure import Failure
from mmprep.format import DATASET, FAILURES, Dataset, Index, ShardWriter
from mmprep.format.paths import JOURNAL, STATE
from mmprep.format.tar import BLOCK, SampleEntry
from mmprep.manifest import Row
from mmprep.shards import Shards, read_dataset
from mmprep.storage.place import Raw, raw_at
from mmprep.storage.store import Store, open_store

_NEW: Final = STATE + "new/"


@dataclass(frozen=True, kw_only=True)
class RepairReport:
    """Outcome of a repair.

    Attributes:
        dataset: Description of the data set as it is now.
        tried: Number of clips that were decoded again.
        mended: Number of those that are samples now.
        absent: Number of listed clips that had no file when the shards were planned; only a new
            build can add them.
    """

    dataset: Dataset
    tried: int
    mended: int
    absent: int


def repair(
    out: str,
    *,
    raw: Raw | None = None,
    endpoint: str | None = None,
    workers: int = 1,
    clip_timeout_s: float = 60.0,
    on_clip: Callable[[Failure | None], None] = lambda failure: None,
) -> RepairReport:
    """Decodes the failed clips of the data set at ``out`` again and adds those that succeed.

    Args:
        out: Folder or URL of a complete data set.
        raw: Folder or URL of the clips; None is the place where they lay at the build.
        endpoint: Address of an S3-compatible server that holds ``out`` and ``raw``.
        workers: Number of decoding processes.
        clip_timeout_s: Seconds after which the decoding of a clip is given up.
        on_clip: Function called after each clip, with its failure or None.

    Raises:
        ConfigError: There is no data set, no folder ``raw``, or the libraries have other versions.
        DataError: The data set is damaged.
    """
    store = open_store(out, endpoint=endpoint)
    if store.size(JOURNAL) is None:
        # Checked before the lock is taken, which would create a folder of a misspelt name.
        read_dataset(store)
    with hold_lock(store):
        _finish_moves(store)
        dataset = read_dataset(store)
        forget_state(store)
        _check_files(store, dataset)
        plan, results = _reconstruct(store, dataset)
        raw = raw or raw_at(plan.raw)
        if not plan.rows:
            return RepairReport(dataset=dataset, tried=0, mended=0, absent=len(plan.absent))
        _check_request(plan, raw, dataset)
        job = Job(
            out=out,
            endpoint=endpoint,
            raw=raw,
            config=plan.parts,
            decoder=plan.made_by["decoder"],
            clip_timeout_s=clip_timeout_s,
        )
        mended: list[str] = []
        with Shards(store) as shards, DecoderPool(job, workers) as pool:
            for task in (task for task in plan.tasks if task.rows):
                outcomes = _decode_rows(task, pool, on_clip)
                samples = {k: o for k, o in outcomes.items() if isinstance(o, Sample)}
                failures = tuple(o for o in outcomes.values() if isinstance(o, Failure))
                result = replace(results[task.name], failures=failures)
                if samples:
                    result = _rewrite_shard(store, shards, task, result, samples, plan)
                    mended += samples
                results[task.name] = result
        dataset, files = compose(plan, results)
        for path, data in files.items():
            store.write(_NEW + path, data)
        changed = [name for name, _ in store.files() if name.startswith(_NEW)]
        moves = sorted(
            (name.removeprefix(_NEW) for name in changed), key=lambda name: name == DATASET
        )
        store.write(JOURNAL, json.dumps(moves).encode())
        _finish_moves(store)
        forget_state(store)
        return RepairReport(
            dataset=dataset, tried=plan.rows, mended=len(mended), absent=len(plan.absent)
        )


def _finish_moves(store: Store) -> None:
    """Moves the files that a journal names to their places, `dataset.json` last."""
    if store.size(JOURNAL) is None:
        return
    paths: list[str] = json.loads(store.read(JOURNAL))
    if store.size(_NEW + DATASET) is not None:
        store.delete(DATASET)
    for path in paths:
        if store.size(_NEW + path) is not None:
            store.move(_NEW + path, path)
    store.delete(JOURNAL)


def _check_files(store: Store, dataset: Dataset) -> None:
    """Raises `DataError` for a damaged index or list of failures.

    Both are written anew from their content, which would give damaged data a valid checksum.
    """
    for path, expected in dataset.files.items():
        if hashlib.sha256(store.read(path)).hexdigest() != expected:
            raise DataError(f"{store.url}/{path}: damaged; nothing was changed. Build anew")


def _reconstruct(store: Store, dataset: Dataset) -> tuple[Plan, dict[str, ShardResult]]:
    """Rebuilds plan and results of a finished build; the plan holds the failed clips alone."""
    failed: dict[str, list[tuple[Row, Failure]]] = defaultdict(list)
    absent: list[Failure] = []
    for line in store.read(FAILURES).decode().splitlines():
        fields: dict[str, Any] = json.loads(line)
        task, row = fields.pop("task", None), fields.pop("row", None)
        if task is None:
            absent.append(Failure(**fields))
        else:
            failed[task].append((Row.from_json(row), Failure(**fields)))
    results: dict[str, ShardResult] = {}
    with Shards(store) as shards:
        index = shards.index
        ids = {name: number for number, name in enumerate(index.shards)}
        names = sorted({name.removesuffix(".tar") for name in ids} | set(failed), key=_split_order)
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
    )
    return plan, results


def _check_request(plan: Plan, raw: Raw, dataset: Dataset) -> None:
    if isinstance(raw, Path) and not raw.is_dir():
        raise ConfigError(
            f"{raw}: no such folder; name with --raw the folder where the clips lie now"
        )
    now = versions(plan.parts, plan.made_by["decoder"])
    if changed := [name for name in now if now[name] != dataset.made_by.get(name)]:
        name = changed[0]
        raise ConfigError(
            f"the data set was made with {name} {dataset.made_by.get(name)}, here is {now[name]}; "
            "samples of both would not be comparable. Install that version, or build anew"
        )


def _decode_rows(
    task: Task, pool: DecoderPool, on_clip: Callable[[Failure | None], None]
) -> dict[str, Outcome]:
    futures = {row.key: pool.submit(row) for row in task.rows}
    outcomes: dict[str, Outcome] = {}
    for key, future in futures.items():
        outcome = outcomes[key] = future.result()
        on_clip(outcome if isinstance(outcome, Failure) else None)
    return outcomes


def _rewrite_shard(
    store: Store,
    shards: Shards,
    task: Task,
    old: ShardResult,
    samples: Mapping[str, Sample],
    plan: Plan,
) -> ShardResult:
    """Writes the shard with ``samples`` added in their places, beside the data set.

    Returns:
        The new result of the task.

    Raises:
        DataError: The old shard is damaged.
    """
    name = f"{task.name}.tar"
    label = {row.key: row.label for row in task.rows} | {
        entry.key: text for entry, text in zip(old.entries, old.labels, strict=True)
    }
    entries = {entry.key: entry for entry in old.entries}
    order = sorted([*entries, *samples], key=lambda key: rank(key, plan.seed))
    extents = _extents(shards.index, name)
    copied = hashlib.sha256()
    new_entries: list[SampleEntry] = []
    with store.create(_NEW + name) as file:
        writer = ShardWriter(file, plan.parts.names)
        for key in order:
            if key in samples:
                new_entries.append(writer.write(key, samples[key].payload))
            else:
                data = store.read(name, *extents[key])
                copied.update(data)
                new_entries.append(writer.copy(data, entries[key]))
        writer.close()
        # The archive's end, so that the digest of what was copied is that of the whole old shard.
        copied.update(bytes(2 * BLOCK))
        if old.shard is not None and copied.hexdigest() != old.shard.sha256:
            raise DataError(
                f"{store.url}/{name}: damaged; `mmprep verify` names the samples. Build anew"
            )
    return replace(
        old,
        shard=writer.info(name, len(new_entries)),
        entries=tuple(new_entries),
        labels=tuple(label[key] for key in order),
    )


def _extents(index: Index, shard: str) -> dict[str, tuple[int, int]]:
    """First byte and end of every sample of ``shard``, by its key."""
    if shard not in index.shards:
        return {}
    rows = (index.shard == index.shards.index(shard)).nonzero()[0].tolist()
    return {index.key[row].decode(): index.extent(row) for row in rows}


def _split_order(name: str) -> tuple[int, str]:
    return ("train", "val", "test").index(name.partition("/")[0]), name
