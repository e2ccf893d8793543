"""A task on another machine: the same shard, by the same libraries, as long as its build lasts."""

import platform
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mmprep.build.plan import Task, versions
from mmprep.build.shard import ShardResult, finished, rows_ahead, write_shard
from mmprep.clips.job import Job
from mmprep.clips.pool import DecoderPool
from mmprep.errors import ConfigError
from mmprep.failure import Failure
from mmprep.format.paths import RUN
from mmprep.storage.store import Store, open_store

_LOOK_S: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What a task on another machine needs to know besides its rows.

    Attributes:
        job: With absolute paths.
        made_by: `versions` on the machine that plans.
        run: Who sent it. A task that outlives the build that sent it would write into the next.
        workers: Decoding processes for a shard.
    """

    job: Job
    made_by: Mapping[str, str]
    run: str
    workers: int


def errand(job: Job, workers: int) -> Errand:
    """Announces a run in the output; tasks of earlier runs stop when they see it."""
    out = job.out if "://" in job.out else str(Path(job.out).resolve())
    raw = job.raw.resolve() if isinstance(job.raw, Path) else job.raw
    run = uuid.uuid4().hex
    open_store(out, endpoint=job.endpoint).write(RUN, run.encode())
    return Errand(
        job=replace(job, out=out, raw=raw),
        made_by=versions(job.config, job.decoder),
        run=run,
        workers=workers,
    )


def perform(task: Task, given: Errand) -> ShardResult:
    """Makes the shard of ``task`` here, with decoding processes that stay for the next task.

    Raises:
        ConfigError: Other library versions, no such folders, or the build has ended.
        StoreError: The disk or bucket refused.
    """
    job = given.job
    here = versions(job.config, job.decoder)
    if changed := [name for name in here if here[name] != given.made_by.get(name)]:
        name = changed[0]
        raise ConfigError(
            f"{platform.node()} has {name} {here[name]}, the build was begun with "
            f"{given.made_by.get(name)}; install the same versions on every node"
        )
    if isinstance(job.raw, Path) and not job.raw.is_dir():
        raise ConfigError(
            f"{platform.node()} has no folder {job.raw}; clips lie in a bucket, or on a file "
            "system that every node mounts at the same place"
        )
    store = open_store(job.out, endpoint=job.endpoint)
    watch = _Watch(store, given.run, len(task.rows))
    watch.look()
    if (done := finished(store, task.name)) is not None:
        return done
    pool = _KEPT.pool(job, given.workers)
    ahead = rows_ahead(given.workers)
    return write_shard(task, store, pool, job.config.names, ahead=ahead, seen=watch)


class _Watch:
    """Stops a task whose run is over: looks now and then, and before the shard is published."""

    def __init__(self, store: Store, run: str, clips: int) -> None:
        self._store, self._run, self._left = store, run, clips
        self._next = 0.0

    def __call__(self, failure: Failure | None) -> None:
        self._left -= 1
        if not self._left or time.monotonic() >= self._next:
            self.look()

    def look(self) -> None:
        self._next = time.monotonic() + _LOOK_S
        if self._store.size(RUN) is None:
            raise ConfigError(
                f"{platform.node()} finds no build at {self._store.url}: it has ended, or this "
                "node does not share that folder; give --out a bucket or a shared file system"
            )
        if self._store.read(RUN).decode() != self._run:
            raise ConfigError(f"{self._store.url}: another run goes on with this build")


class _Kept:
    """Decoding processes that stay for the next task: starting some takes as long as ten clips."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._pool: tuple[Job, int, DecoderPool] | None = None

    def pool(self, job: Job, workers: int) -> DecoderPool:
        if self._pool is None or self._pool[:2] != (job, workers):
            self._pool = None
            self._stack.close()
            self._pool = job, workers, self._stack.enter_context(DecoderPool(job, workers))
        return self._pool[2]


_KEPT: Final = _Kept()
