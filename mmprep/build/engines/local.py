"""Engine `local`: decoding processes on this machine, and a thread that writes each shard.

If there are fewer shards than workers, several workers decode for one shard, so none is idle.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from mmprep.build.engines import OnClip
from mmprep.build.plan import Task
from mmprep.build.shard import ShardResult, rows_ahead, write_shard
from mmprep.clips.job import Job
from mmprep.clips.pool import DecoderPool
from mmprep.storage.store import store_at


def run(
    tasks: Sequence[Task], job: Job, *, workers: int | None, on_clip: OnClip
) -> Iterator[ShardResult]:
    """Runs ``tasks`` (see `mmprep.build.engines.Engine`) and yields each result when it is done."""
    if not tasks:
        return
    store = store_at(job.out, job.out_access)
    workers = workers or os.cpu_count() or 1
    writers = min(workers, len(tasks))
    ahead = rows_ahead(-(-workers // writers))

    def work(task: Task) -> ShardResult:
        return write_shard(task, store, pool, job.config.names, ahead=ahead, on_clip=on_clip)

    with ThreadPoolExecutor(writers) as threads, DecoderPool(job, workers) as pool:
        futures = [threads.submit(work, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise
