"""Decodes the failed clips of a data set again, and adds those that now succeed.

A shard that gains samples is written anew beside the data set, from its own bytes and the new
samples, in the order of the plan: the result is what an undisturbed build would have written. When
all new files are ready, a journal of the moves is written; from then on, the next run completes a
repair that was killed.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mmprep.build.extend import require_no_extension
from mmprep.build.lock import hold_lock
from mmprep.build.plan import Plan, Task, rank, versions
from mmprep.build.rewrite import NEW, check_files, finish_moves, reconstruct, republish
from mmprep.build.shard import ShardResult, write_clip
from mmprep.build.state import forget_state
from mmprep.clips.job import Job
from mmprep.clips.outcome import Outcome, Sample
from mmprep.clips.pool import DecoderPool
from mmprep.errors import ConfigError, DataError
from mmprep.failure import Failure
from mmprep.format import Dataset, Index, ShardWriter
from mmprep.format.paths import JOURNAL
from mmprep.format.tar import BLOCK, SampleEntry
from mmprep.shards import Shards, read_dataset
from mmprep.storage.access import Access
from mmprep.storage.place import Raw, raw_at
from mmprep.storage.store import Store, store_at


@dataclass(frozen=True, kw_only=True)
class RepairReport:
    """Outcome of a repair.

    Attributes:
        dataset: Description of the data set as it is now.
        tried: Number of clips that were decoded again.
        mended: Number of those that are samples now.
        absent: Number of listed clips that had no file when the shards were planned; `mmprep
            build --extend` adds those that have one now.
    """

    dataset: Dataset
    tried: int
    mended: int
    absent: int


def repair(
    out: str,
    *,
    raw: Raw | None = None,
    access: Access | None = None,
    workers: int = 1,
    clip_timeout_s: float = 60.0,
    on_clip: Callable[[Failure | None], None] = lambda failure: None,
) -> RepairReport:
    """Decodes the failed clips of the data set at ``out`` again and adds those that succeed.

    Args:
        out: Folder or URL of a complete data set.
        raw: Folder or URL of the clips; None is the place where they lay at the build.
        access: Way to the buckets of ``out`` and ``raw``, by default the environment's; where it
            is anonymous, only ``raw`` is read so.
        workers: Number of decoding processes.
        clip_timeout_s: Seconds after which the decoding of a clip is given up.
        on_clip: Function called after each clip, with its failure or None.

    Raises:
        ConfigError: There is no data set, no folder ``raw``, or the libraries have other versions.
        DataError: The data set is damaged.
    """
    access = access or Access()
    store = store_at(out, replace(access, anonymous=False))
    if store.size(JOURNAL) is None:
        # Checked before the lock is taken, which would create a folder of a misspelt name.
        read_dataset(store)
    with hold_lock(store):
        finish_moves(store)
        dataset = read_dataset(store)
        require_no_extension(store, dataset)
        forget_state(store)
        check_files(store, dataset)
        plan, results = reconstruct(store, dataset)
        raw = raw or raw_at(plan.raw)
        if not plan.rows:
            return RepairReport(dataset=dataset, tried=0, mended=0, absent=len(plan.absent))
        _check_request(plan, raw, dataset)
        job = replace(_job(out, raw, plan, access), clip_timeout_s=clip_timeout_s)
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
        dataset = republish(plan, results, store)
        forget_state(store)
        return RepairReport(
            dataset=dataset, tried=plan.rows, mended=len(mended), absent=len(plan.absent)
        )


def _job(out: str, raw: Raw, plan: Plan, access: Access) -> Job:
    return Job(
        out=out,
        endpoint=access.endpoint,
        raw=raw,
        config=plan.parts,
        decoder=plan.made_by["decoder"],
        anonymous=access.anonymous,
        retry_for_s=access.retry_for_s,
    )


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
    rows = {row.key: row for row in task.rows}
    label = {row.key: row.label for row in task.rows} | {
        entry.key: text for entry, text in zip(old.entries, old.labels, strict=True)
    }
    entries = {entry.key: entry for entry in old.entries}
    order = sorted([*entries, *samples], key=lambda key: rank(key, plan.seed))
    extents = _extents(shards.index, name)
    copied = hashlib.sha256()
    new_entries: list[SampleEntry] = []
    with store.create(NEW + name) as file:
        writer = ShardWriter(file, plan.parts.names)
        for key in order:
            if key in samples:
                new_entries.append(write_clip(writer, rows[key], samples[key].payload))
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
    """First byte and end of every clip of ``shard``, by its key."""
    if shard not in index.shards:
        return {}
    clips = index.clips
    rows = clips[index.shard[clips] == index.shards.index(shard)].tolist()
    return {index.clip_key(row): index.extent(row) for row in rows}
