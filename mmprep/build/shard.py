"""One task: decodes the rows of a shard and writes its tar and its sidecar.

Any engine may run a task, and run it twice: the second run finds the result of the first.
"""

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import IO, Self

from mmprep.build.plan import Task
from mmprep.clips.outcome import Outcome, Sample
from mmprep.clips.pool import DecoderPool
from mmprep.failure import Failure
from mmprep.format import Payload, ShardInfo, ShardWriter
from mmprep.format.damage import naming_damage
from mmprep.format.fields import build, parse_json
from mmprep.format.parts import RECORD
from mmprep.format.paths import STATE, safe_path, task_name
from mmprep.format.tar import SampleEntry
from mmprep.manifest import Row
from mmprep.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """Result of a task, kept in a sidecar beside the shards until the build is complete.

    Attributes:
        task: Name of the task.
        shard: Description of the tar; None if every clip of the task failed.
        entries: Place and targets of each clip, in the order of the tar.
        labels: Class name of each clip; empty for one with questions.
        failures: Clips that gave no sample.
        seconds: Seconds that each stage took, summed over all clips.
        checks: Check of the records to the number of samples for which it is true.
    """

    task: str
    shard: ShardInfo | None
    entries: tuple[SampleEntry, ...]
    labels: tuple[str, ...]
    failures: tuple[Failure, ...]
    seconds: dict[str, float] = field(default_factory=dict)
    checks: dict[str, int] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """Number of samples, which are rows of the index: each question about a clip counts."""
        return sum(len(entry.answers) or 1 for entry in self.entries)

    def to_json(self) -> bytes:
        """Bytes of the sidecar."""
        # Not `asdict`, which copies each number; members are many.
        plain = {
            **vars(self),
            "shard": None if self.shard is None else asdict(self.shard),
            "entries": [entry.to_json() for entry in self.entries],
            "failures": [asdict(failure) for failure in self.failures],
        }
        return json.dumps(plain, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes, origin: str) -> Self:
        """Reads a sidecar.

        Args:
            data: Bytes of the sidecar.
            origin: Name of the sidecar, for error messages.

        Raises:
            DataError: The sidecar is damaged.
        """
        with naming_damage(origin, "delete it and build again", "damaged"):
            result = build(cls, parse_json(data))
            if len(result.labels) != len(result.entries):
                raise ValueError(f"{len(result.labels)} labels of {len(result.entries)} samples")
        task_name(result.task, origin)
        if result.shard is not None:
            safe_path(result.shard.name, origin)
        return result


def sidecar_path(task: str) -> str:
    """Path of the sidecar of ``task``, relative to the output."""
    return f"{STATE}{task.replace('/', '-')}.json"


def completed_result(store: Store, task: str) -> ShardResult | None:
    """Result of a task that an earlier run completed, or None."""
    path = sidecar_path(task)
    if store.size(path) is None:
        return None
    result = ShardResult.from_json(store.read(path), f"{store.url}/{path}")
    # A sidecar may outlive its shard, for example where a user deleted the tar.
    if result.shard is not None and store.size(result.shard.name) != result.shard.bytes:
        return None
    return result


def rows_ahead(workers: int) -> int:
    """Number of rows of a shard that are given to ``workers`` processes at a time.

    It exceeds the number of workers, because results are taken in order: while the first row is a
    long clip, the other workers go on with the rows behind it.
    """
    return 3 * workers + 2


def write_shard(
    task: Task,
    store: Store,
    pool: DecoderPool,
    parts: tuple[str, ...],
    *,
    ahead: int,
    on_clip: Callable[[Failure | None], None],
) -> ShardResult:
    """Makes the samples of ``task`` in order and publishes the shard and its sidecar.

    Args:
        task: Name and rows of the shard.
        store: Output of the build.
        pool: Processes that decode the rows.
        parts: Names of the parts of each sample, in order.
        ahead: Number of rows that are decoded at a time.
        on_clip: Function called after each clip, with its failure or None.
    """
    name = f"{task.name}.tar"
    entries: list[SampleEntry] = []
    labels: list[str] = []
    failures: list[Failure] = []
    seconds: Counter[str] = Counter()
    checks: Counter[str] = Counter()
    with ExitStack() as stack:
        writer: ShardWriter | None = None
        for row, outcome in zip(task.rows, _outcomes_in_order(task, pool, ahead), strict=True):
            if isinstance(outcome, Sample):
                if writer is None:
                    file: IO[bytes] = stack.enter_context(store.create(name))
                    writer = ShardWriter(file, parts)
                entries.append(write_clip(writer, row, outcome.payload))
                labels.append(row.label)
                seconds.update(outcome.seconds)
                checks.update(_true_checks(outcome))
            else:
                failures.append(outcome)
            on_clip(outcome if isinstance(outcome, Failure) else None)
        if writer is not None:
            writer.close()
    if writer is None:
        # A run that was killed may have found samples here, before the clips went bad.
        store.delete(name)
    shard = writer.info(name, len(entries)) if writer is not None else None
    result = ShardResult(
        task=task.name,
        shard=shard,
        entries=tuple(entries),
        labels=tuple(labels),
        failures=tuple(failures),
        seconds=dict(seconds),
        checks=dict(checks),
    )
    # Written last: its presence means that the shard is whole.
    store.write(sidecar_path(task.name), result.to_json())
    return result


def write_clip(writer: ShardWriter, row: Row, payload: Payload) -> SampleEntry:
    """Appends the sample of ``row`` to a shard, with the targets of the row."""
    return writer.write(row.key, payload, target=row.target, group=row.group, answers=row.answers)


def _true_checks(sample: Sample) -> list[str]:
    record = json.loads(sample.payload[RECORD][0])
    return [name for name, value in record["checks"].items() if value]


def _outcomes_in_order(task: Task, pool: DecoderPool, ahead: int) -> Iterator[Outcome]:
    """Yields outcomes in the order of the rows, while up to ``ahead`` rows are being decoded."""
    waiting: deque[Future[Outcome]] = deque()
    try:
        for row in task.rows:
            waiting.append(pool.submit(row))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
