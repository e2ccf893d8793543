"""Runs a task on another machine, for the engines `ray` and `slurm`.

A task refuses to run with other library versions than the build was begun with, because its shard
would have other bytes, and it stops when its build has ended or another run continues it.
"""

import platform
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mmprep.build.plan import Task, versions
from mmprep.build.shard import ShardResult, completed_result, rows_ahead, write_shard
from mmprep.clips.job import Job
from mmprep.clips.pool import DecoderPool
from mmprep.errors import ConfigError
from mmprep.failure import Failure
from mmprep.format.paths import RUN
from mmprep.storage.store import Store, store_at

# Seconds between two looks at the output for the run that is in charge.
_CHECK_S: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class RemoteJob:
    """Settings of a task on another machine, besides its rows.

    Attributes:
        job: Settings that all tasks share, with absolute paths.
        made_by: Library versions on the machine that made the plan, see `versions`.
        run: Identifier of the run that sent the task. A task that outlives its run would write
            into the next one, so it compares this with the identifier in the output.
        workers: Number of decoding processes for a shard.
    """

    job: Job
    made_by: Mapping[str, str]
    run: str
    workers: int


def announce_run(job: Job, workers: int) -> RemoteJob:
    """Writes the identifier of a new run into the output; tasks of earlier runs stop at that.

    Returns:
        The settings for the tasks of this run.
    """
    out = job.out if "://" in job.out else str(Path(job.out).resolve())
    raw = job.raw.resolve() if isinstance(job.raw, Path) else job.raw
    run = uuid.uuid4().hex
    store_at(out, job.out_access).write(RUN, run.encode())
    return RemoteJob(
        job=replace(job, out=out, raw=raw),
        made_by=versions(job.config, job.decoder),
        run=run,
        workers=workers,
    )


def run_task(task: Task, remote_job: RemoteJob) -> ShardResult:
    """Makes the shard of ``task`` on this machine; its decoding processes stay for the next task.

    Raises:
        ConfigError: Libraries have other versions, a folder is absent, or the build has ended.
        StoreError: The disk or bucket refused.
    """
    job = remote_job.job
    present = versions(job.config, job.decoder)
    if changed := [name for name in present if present[name] != remote_job.made_by.get(name)]:
        name = changed[0]
        raise ConfigError(
            f"{platform.node()} has {name} {present[name]}, the build was begun with "
            f"{remote_job.made_by.get(name)}; install the same versions on every node"
        )
    if isinstance(job.raw, Path) and not job.raw.is_dir():
        raise ConfigError(
            f"{platform.node()} has no folder {job.raw}; clips lie in a bucket, or on a file "
            "system that every node mounts at the same place"
        )
    store = store_at(job.out, job.out_access)
    watch = _RunWatch(store, remote_job.run, len(task.rows))
    watch.check()
    if (done := completed_result(store, task.name)) is not None:
        return done
    pool = POOLS.pool(job, remote_job.workers)
    ahead = rows_ahead(remote_job.workers)
    return write_shard(task, store, pool, job.config.names, ahead=ahead, on_clip=watch)


class _RunWatch:
    """Stops a task whose run is over.

    Called after each clip. It looks at the output every few seconds, and always after the last
    clip, so that a task of an ended run never publishes its shard.
    """

    def __init__(self, store: Store, run: str, clips: int) -> None:
        self._store, self._run, self._left = store, run, clips
        self._next = 0.0

    def __call__(self, failure: Failure | None) -> None:
        self._left -= 1
        if not self._left or time.monotonic() >= self._next:
            self.check()

    def check(self) -> None:
        self._next = time.monotonic() + _CHECK_S
        if self._store.size(RUN) is None:
            raise ConfigError(
                f"{platform.node()} finds no build at {self._store.url}: it has ended, or this "
                "node does not share that folder; give --out a bucket or a shared file system"
            )
        if self._store.read(RUN).decode() != self._run:
            raise ConfigError(f"{self._store.url}: another run goes on with this build")


class PoolCache:
    """Keeps decoding processes for the next task, since their start takes as long as ten clips."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._pool: tuple[Job, int, DecoderPool] | None = None

    def pool(self, job: Job, workers: int) -> DecoderPool:
        """Pool for ``job``: that of the task before, if its settings are the same."""
        if self._pool is None or self._pool[:2] != (job, workers):
            self.close()
            self._pool = job, workers, self._stack.enter_context(DecoderPool(job, workers))
        return self._pool[2]

    def close(self) -> None:
        """Ends the decoding processes."""
        self._pool = None
        self._stack.close()


POOLS: Final = PoolCache()
