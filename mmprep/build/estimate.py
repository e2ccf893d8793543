"""Estimate of what a build takes, from a few of its clips that are prepared and thrown away."""

import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mmprep.build.plan import Plan, trial_rows
from mmprep.build.shard import write_clip
from mmprep.clips.job import Job
from mmprep.clips.outcome import Sample
from mmprep.clips.pool import DecoderPool
from mmprep.format import ShardWriter
from mmprep.manifest import Row

_CLIPS: Final = 9  # The first one only starts the libraries.
_ENOUGH_S: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class BuildEstimate:
    """Cost of a build on this machine, if the clips that were prepared stand for all.

    Attributes:
        prepared: Number of clips that were prepared.
        failed: Number of these that gave no sample.
        bytes: Bytes of the shards.
        seconds_a_clip: Seconds of one worker for a clip.
        workers: Number of workers that share the clips.
        seconds: Seconds of the whole build.
        memory_a_worker: Most bytes of main memory that a worker took.
    """

    prepared: int
    failed: int
    bytes: int
    seconds_a_clip: float
    workers: int
    seconds: float
    memory_a_worker: int


def estimate(plan: Plan, job: Job, workers: int | None = None) -> BuildEstimate:
    """Prepares a few clips of a plan, spread over its splits and classes, in a temporary file.

    Args:
        plan: Plan of the build.
        job: Settings of its tasks; nothing is written to its output.
        workers: Number of workers; one a core for None.

    Raises:
        StoreError: The place of the clips refuses.
    """
    workers = workers or os.cpu_count() or 1
    rows = [row for task in plan.tasks for row in task.rows]
    times, size, samples = _prepare(trial_rows(rows, _CLIPS, seed=plan.seed), plan, job)
    # The time of the first is that of a start, unless there is no other.
    counted = times[1:] or times
    seconds_a_clip = sum(counted) / max(1, len(counted))
    share = samples / max(1, len(times))
    return BuildEstimate(
        prepared=len(times),
        failed=len(times) - samples,
        bytes=round(size / max(1, samples) * share * len(rows)),
        seconds_a_clip=seconds_a_clip,
        workers=workers,
        seconds=seconds_a_clip * len(rows) / min(workers, max(1, len(rows))),
        memory_a_worker=_most_memory(),
    )


def listed_by_split(plan: Plan) -> dict[str, dict[str, int]]:
    """Split to the number of its clips that are ``listed``, ``found`` and ``absent``."""
    found = Counter(row.split for task in plan.tasks for row in task.rows)
    absent = Counter(failure.split for failure in plan.absent)
    return {
        split: {
            "listed": found[split] + absent[split],
            "found": found[split],
            "absent": absent[split],
        }
        for split in dict.fromkeys((*found, *absent))
    }


def _prepare(rows: Sequence[Row], plan: Plan, job: Job) -> tuple[list[float], int, int]:
    """Seconds of each clip that was prepared, bytes of their samples, and number of these."""
    times: list[float] = []
    samples = 0
    with tempfile.TemporaryFile() as file, DecoderPool(job, workers=1) as pool:
        writer = ShardWriter(file, plan.parts.names)
        for row in rows:
            before = time.monotonic()
            outcome = pool.submit(row).result()
            if isinstance(outcome, Sample):
                write_clip(writer, row, outcome.payload)
                samples += 1
            times.append(time.monotonic() - before)
            if sum(times) > _ENOUGH_S:
                break
        return times, file.tell(), samples


def _most_memory() -> int:
    """Most bytes that any child process which has ended has held."""
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
