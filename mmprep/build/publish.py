"""Turns the results of all tasks into `index.h5`, `failures.jsonl` and, last, `dataset.json`."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from mmprep.build.collection import without_collection
from mmprep.build.plan import Plan
from mmprep.build.shard import ShardResult
from mmprep.format import DATASET, FAILURES, INDEX, Dataset, SplitInfo, write_index
from mmprep.format.dataset import ADDITIONS
from mmprep.format.parts import RECORD
from mmprep.format.tar import SampleEntry
from mmprep.manifest import SPLITS
from mmprep.storage.store import Store


def publish(plan: Plan, results: Mapping[str, ShardResult], store: Store) -> Dataset:
    """Writes the three files that make ``results`` a data set, and returns its description."""
    dataset, files = compose(plan, results)
    for path, data in files.items():
        store.write(path, data)
    return dataset


@without_collection()
def compose(plan: Plan, results: Mapping[str, ShardResult]) -> tuple[Dataset, dict[str, bytes]]:
    """Makes the description of the data set and the bytes of its three files.

    The files are in the order in which they must be written: `dataset.json` comes last, because
    its presence means that the data set is complete.
    """
    ordered = [results[task.name] for task in plan.tasks]
    full = [result for result in ordered if result.shard is not None]
    splits = [split for split in SPLITS if any(task.split == split for task in plan.tasks)]
    shards = [result.shard for result in full if result.shard is not None]
    index = write_index(
        _index_entries(full, plan.classes, splits),
        classes=plan.classes,
        splits=splits,
        shards=[shard.name for shard in shards],
        parts=[RECORD, *plan.parts.names],
    )
    failures = [*(failure for result in ordered for failure in result.failures), *plan.absent]
    lines = _failure_lines(plan, results)
    dataset = Dataset(
        name=plan.name,
        title=plan.title,
        classes=plan.classes,
        modalities=plan.modalities,
        parts=plan.parts.to_json(),
        splits={split: _split_info(split, full, plan.classes) for split in splits},
        shards=tuple(shards),
        failures=dict(sorted(Counter(failure.cause for failure in failures).items())),
        files={INDEX: _sha256(index), FAILURES: _sha256(lines)},
        made_by=dict(plan.made_by),
        request={
            "raw": plan.raw,
            "seed": plan.seed,
            "shard_size": plan.shard_size,
            "listed": plan.listed,
            **({} if plan.limit is None else {"limit": plan.limit}),
        },
        licence=plan.licence,
        task=plan.task,
        additions=_additions([entry for result in full for entry in result.entries]),
    )
    return dataset, {INDEX: index, FAILURES: lines, DATASET: dataset.to_json().encode()}


def _index_entries(
    results: Sequence[ShardResult], classes: Sequence[str], splits: Sequence[str]
) -> Iterator[tuple[SampleEntry, int, int, int]]:
    """Yields the clips of the shards as `write_index` takes them."""
    class_id = {name: number for number, name in enumerate(classes)}
    for number, result in enumerate(results):
        split = splits.index(result.task.partition("/")[0])
        for entry, label in zip(result.entries, result.labels, strict=True):
            yield entry, 0 if entry.answers else class_id[label], split, number


def _additions(entries: Sequence[SampleEntry]) -> tuple[str, ...]:
    """Uses of format 2 among ``entries``."""
    uses = {
        "target": any(entry.target for entry in entries),
        "group": any(entry.group or any(a.group for a in entry.answers) for entry in entries),
        "questions": any(entry.answers for entry in entries),
        "missing": any(0 in entry.counts for entry in entries),
    }
    return tuple(name for name in ADDITIONS if uses[name])


def _failure_lines(plan: Plan, results: Mapping[str, ShardResult]) -> bytes:
    """Bytes of `failures.jsonl`; failed clips carry row and shard, which `mmprep repair` needs."""
    lines: list[dict[str, object]] = []
    for task in plan.tasks:
        failures = results[task.name].failures
        rows = {row.key: row for row in task.rows} if failures else {}
        lines += [
            {**asdict(failure), "task": task.name, "row": rows[failure.key].to_json()}
            for failure in failures
        ]
    lines += [asdict(failure) for failure in plan.absent]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def _split_info(split: str, results: Sequence[ShardResult], classes: Sequence[str]) -> SplitInfo:
    counts = Counter(
        label
        for result in results
        if result.task.startswith(f"{split}/")
        for entry, name in zip(result.entries, result.labels, strict=True)
        for label in ([answer.label for answer in entry.answers] or [name])
    )
    return SplitInfo(
        samples=counts.total(), classes={name: counts[name] for name in classes if counts[name]}
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
