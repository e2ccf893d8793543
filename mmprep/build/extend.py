"""Adds clips that arrived after a build to its data set, as new shards.

The shards that are there stay as they are, byte for byte, and so do the splits of their clips. The
plan of the extension lies beside the data set until the new shards are whole, so that the same
command continues an extension that was killed; meanwhile the data set is whole without them.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mmprep.build.collection import without_collection
from mmprep.build.plan import Plan, Task, tasks, versions
from mmprep.build.rewrite import read_failures, reconstruct, split_order
from mmprep.build.settings import (
    Listing,
    Targets,
    differences,
    listing_differences,
    listing_of_plan,
    refuse,
    settings_of_dataset,
    settings_of_plan,
    target_differences,
    targets_of,
    targets_of_plan,
)
from mmprep.build.shard import ShardResult
from mmprep.errors import ConfigError
from mmprep.format import DATASET, Dataset
from mmprep.format.paths import PLAN, task_name
from mmprep.manifest import Row
from mmprep.shards import Shards, read_dataset
from mmprep.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class KnownClips:
    """Clips of a finished data set.

    Attributes:
        listing: Label and split of samples, failed clips and absent clips, by key.
        absent: Keys of the clips that had no file.
        next_shard: Number of the first shard that each split has not.
        targets: Targets of the samples by key, where the data set has any.
    """

    listing: Listing
    absent: frozenset[str]
    next_shard: Mapping[str, int]
    targets: Mapping[str, Targets]

    def new_rows(self, plan: Plan) -> list[Row]:
        """Rows of ``plan`` that are neither samples nor failed clips of the data set."""
        return [
            row
            for task in plan.tasks
            for row in task.rows
            if row.key not in self.listing or row.key in self.absent
        ]


@without_collection()
def known_clips(store: Store, dataset: Dataset) -> KnownClips:
    """Reads the clips of a data set from its index and its list of failures."""
    with Shards(store) as shards:
        index = shards.index
        clips = index.clips
        keys = [index.clip_key(row) for row in clips.tolist()]
        labels = [index.own_label(row) for row in clips.tolist()]
        splits = [index.splits[i] for i in index.split[clips].tolist()]
        listing = dict(zip(keys, zip(labels, splits, strict=True), strict=True))
        # Without additions there is nothing to compare, and entries of many clips take long.
        entries = index.entries(clips) if index.additions else ()
        targets = {entry.key: targets_of(entry) for entry in entries}
    absent: set[str] = set()
    place = f"{store.url}/{DATASET}"
    names = {task_name(shard.name.removesuffix(".tar"), place) for shard in dataset.shards}
    for failure, task, row in read_failures(store):
        listing[failure.key] = failure.label, failure.split
        if row is None:
            absent.add(failure.key)
        else:
            names.add(task)
    next_shard: Counter[str] = Counter()
    for name in names:
        split, _, number = name.partition("/")
        next_shard[split] = max(next_shard[split], int(number) + 1)
    return KnownClips(
        listing=listing, absent=frozenset(absent), next_shard=next_shard, targets=targets
    )


@without_collection()
def plan_extension(plan: Plan, dataset: Dataset, known: KnownClips, place: str) -> Plan:
    """Plans the shards of the clips in ``plan`` that are new to ``dataset``.

    Args:
        plan: Plan of the present request.
        dataset: Data set that is to be extended.
        known: Clips of the data set.
        place: Folder or URL of the data set, for error messages.

    Raises:
        ConfigError: A parameter, a library or the label of a clip is another than in ``dataset``.
    """
    old, now = settings_of_dataset(dataset), settings_of_plan(plan)
    lines = differences({**old, "limit": None}, {**now, "limit": None})
    # A clip's split stays as it is, because runs have been trained on it.
    labels = {key: (label, "") for key, (label, _) in listing_of_plan(plan).items()}
    relabelled = {k: v for k, v in labels.items() if v[0] != known.listing.get(k, v)[0]}
    lines += listing_differences({k: (known.listing[k][0], "") for k in relabelled}, relabelled)
    lines += target_differences(known.targets, targets_of_plan(plan))
    present = versions(plan.parts, plan.made_by["decoder"])
    lines += differences(dict(dataset.made_by), present, "version of ")
    if lines:
        raise refuse(place, lines)
    rows = known.new_rows(plan)
    planned = tasks(rows, seed=plan.seed, shard_size=plan.shard_size)
    done = known.listing.keys() - known.absent
    return replace(
        plan,
        classes=(*dataset.classes, *(c for c in plan.classes if c not in dataset.classes)),
        tasks=tuple(_renumbered(task, known.next_shard) for task in planned),
        absent=tuple(failure for failure in plan.absent if failure.key not in done),
        limit=None,
        base=dataset.root,
    )


def planned_extension(plan: Plan, store: Store) -> tuple[Plan, Dataset] | None:
    """Plan of what ``--extend`` would add, and the data set that it would be added to.

    Args:
        plan: Plan of the present request.
        store: Place of the data set; nothing is written.

    Returns:
        None while there is no finished data set.

    Raises:
        ConfigError: The data set was built with other settings.
    """
    if store.size(DATASET) is None:
        return None
    dataset = read_dataset(store)
    begun = extension_under_way(store, dataset)
    known = known_clips(store, dataset)
    return begun or plan_extension(plan, dataset, known, store.url), dataset


def _renumbered(task: Task, next_shard: Mapping[str, int]) -> Task:
    split, _, number = task.name.partition("/")
    return replace(task, name=f"{split}/{int(number) + next_shard[split]:06d}")


def joined(
    extension: Plan, results: Mapping[str, ShardResult], store: Store, dataset: Dataset
) -> tuple[Plan, dict[str, ShardResult]]:
    """Plan and results of the data set with the shards of ``extension``."""
    base, old = reconstruct(store, dataset)
    both = sorted((*base.tasks, *extension.tasks), key=lambda task: split_order(task.name))
    return replace(extension, tasks=tuple(both), base=""), {**old, **results}


def extension_under_way(store: Store, dataset: Dataset) -> Plan | None:
    """Plan of an extension of ``dataset`` that was begun and not finished."""
    if store.size(PLAN) is None:
        return None
    plan = Plan.from_json(store.read(PLAN), f"{store.url}/{PLAN}")
    return plan if plan.base == dataset.root else None


def require_no_extension(store: Store, dataset: Dataset) -> None:
    """Raises `ConfigError` while an extension of ``dataset`` is unfinished."""
    if extension_under_way(store, dataset) is not None:
        raise ConfigError(
            f"{store.url}: an extension was begun and not finished; run the same `mmprep build` "
            "with --extend again"
        )
