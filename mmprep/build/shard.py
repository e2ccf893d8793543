"""One task: the rows of a shard to a tar and its sidecar. Any engine may run it, even twice."""

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import IO, Any, Self

from mmprep.build.plan import Task
from mmprep.clips.pool import DecoderPool, Outcome
from mmprep.clips.sample import Sample
from mmprep.errors import DataError
from mmprep.failure import Failure
from mmprep.format import ShardInfo, ShardWriter
from mmprep.format.paths import STATE
from mmprep.format.tar import SampleEntry
from mmprep.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """What a task made; lies beside the shards until the build is complete.

    Attributes:
        task: Name of the task.
        shard: The tar; None where every clip of it failed.
        entries: A row of the index for each sample.
        labels: Class name of each sample.
        failures: Clips that gave no sample.
        seconds: Stage to the seconds that it took, over all clips.
    """

    task: str
    shard: ShardInfo | None
    entries: tuple[SampleEntry, ...]
    labels: tuple[str, ...]
    failures: tuple[Failure, ...]
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The bytes of the sidecar."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes, origin: str) -> Self:
        """Reads a sidecar; ``origin`` is for messages.

        Raises:
            DataError: It is damaged.
        """
        try:
            plain: dict[str, Any] = json.loads(data)
            shard = plain.pop("shard")
            entries = tuple(SampleEntry(**_tuples(entry)) for entry in plain.pop("entries"))
            failures = tuple(Failure(**failure) for failure in plain.pop("failures"))
            labels = tuple(plain.pop("labels"))
            return cls(
                shard=ShardInfo(**shard) if shard else None,
                entries=entries,
                failures=failures,
                labels=labels,
                **plain,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{origin}: damaged ({error!r}); delete it and build again") from error


def sidecar(task: str) -> str:
    """Path of the task's sidecar."""
    return f"{STATE}{task.replace('/', '-')}.json"


def finished(store: Store, task: str) -> ShardResult | None:
    """The result of a task that an earlier run completed, or None."""
    path = sidecar(task)
    if store.size(path) is None:
        return None
    result = ShardResult.from_json(store.read(path), f"{store.url}/{path}")
    if result.shard is not None and store.size(result.shard.name) != result.shard.bytes:
        return None
    return result


def rows_ahead(workers: int) -> int:
    """How many rows of a shard ``workers`` processes are given at a time.

    More than there are workers: a long clip at the head must not idle the others.
    """
    return 3 * workers + 2


def write_shard(
    task: Task,
    store: Store,
    pool: DecoderPool,
    parts: tuple[str, ...],
    *,
    ahead: int,
    seen: Callable[[Failure | None], None],
) -> ShardResult:
    """Makes the samples of ``task`` in order and publishes shard and sidecar.

    Args:
        task: The rows.
        store: Where the shard goes.
        pool: What decodes.
        parts: Names of the parts, in order.
        ahead: Rows that are being decoded at a time.
        seen: Called after each clip, with its failure if it failed.
    """
    name = f"{task.name}.tar"
    entries: list[SampleEntry] = []
    labels: list[str] = []
    failures: list[Failure] = []
    seconds: Counter[str] = Counter()
    with ExitStack() as stack:
        writer: ShardWriter | None = None
        for row, outcome in zip(task.rows, _ordered(task, pool, ahead), strict=True):
            if isinstance(outcome, Sample):
                if writer is None:
                    file: IO[bytes] = stack.enter_context(store.create(name))
                    writer = ShardWriter(file, parts)
                entries.append(writer.write(row.key, outcome.payload))
                labels.append(row.label)
                seconds.update(outcome.seconds)
            else:
                failures.append(outcome)
            seen(outcome if isinstance(outcome, Failure) else None)
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
    )
    # Last: a sidecar says that its shard is whole.
    store.write(sidecar(task.name), result.to_json())
    return result


def _ordered(task: Task, pool: DecoderPool, ahead: int) -> Iterator[Outcome]:
    """Outcomes in the order of the rows, with ``ahead`` of them under way."""
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


def _tuples(entry: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
