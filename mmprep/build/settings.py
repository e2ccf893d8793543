"""Comparison of the settings of a build with those of an earlier run, value by value."""

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from mmprep.build.plan import Plan
from mmprep.errors import ConfigError
from mmprep.format import Answer, Dataset
from mmprep.format.tar import SampleEntry
from mmprep.manifest import Row

# Key of each listed clip to its label and split.
Listing: TypeAlias = Mapping[str, tuple[str, str]]
# Target values, group and answers of a clip.
Targets: TypeAlias = tuple[tuple[float, ...], str, tuple[Answer, ...]]

_SHOWN: Final = 3
# Settings that have an option of their own.
_OPTIONS: Final = {
    "seed": "--seed",
    "shard_size": "--shard-size",
    "limit": "--limit",
    "parts.names": "--parts",
    "parts.missing_audio": "--missing-audio",
}


def settings_of_plan(plan: Plan) -> dict[str, Any]:
    """Settings that a later run must share, except the clips and their classes."""
    return {
        "data set": plan.name,
        "task": plan.task,
        "parts": _with_tables(plan.parts.to_json()),
        "seed": plan.seed,
        "shard_size": plan.shard_size,
        "limit": plan.limit,
    }


def settings_of_dataset(dataset: Dataset) -> dict[str, Any]:
    """Settings with which a data set was built, as `settings_of_plan` names them."""
    request = dataset.request
    return {
        "data set": dataset.name,
        "task": dataset.task,
        "parts": _with_tables(dataset.parts),
        "seed": request.get("seed"),
        "shard_size": request.get("shard_size"),
        "limit": request.get("limit"),
    }


def _with_tables(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with the tables that are left out where all their values are the defaults."""
    pairs = (("spectrogram", "audio"), ("flow", "frames"))
    tables = [table for part, table in pairs if part in parts.get("names", ())]
    return {**{table: {} for table in tables}, **parts}


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Returns a line such as ``spectrogram.mels: there 128, now 64`` for each changed value."""
    lines: list[str] = []
    for name in dict.fromkeys((*old, *new)):
        path, there, now = prefix + name, old.get(name), new.get(name)
        if isinstance(there, Mapping) and isinstance(now, Mapping):
            lines += differences(there, now, f"{path}.")
        # A table that only one side has belongs to a part, which the names of the parts report.
        elif there != now and not isinstance(there or now, Mapping):
            shown = _OPTIONS.get(path, path.removeprefix("parts."))
            lines.append(f"{shown}: there {_text(there)}, now {_text(now)}")
    return lines


def class_differences(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Returns a line with the classes that only one of two lists has."""
    gone, added = ([c for c in a if c not in set(b)] for a, b in ((old, new), (new, old)))
    if not gone and not added:
        return [] if list(old) == list(new) else ["classes: the same in another order"]
    sides = (("only there", gone), ("only now", added))
    return [f"classes: {', '.join(f'{what} {_some(names)}' for what, names in sides if names)}"]


def listing_differences(old: Listing, new: Listing) -> list[str]:
    """Returns a line with the clips that only one of two listings has, or that differ."""
    parts = [
        ("only there", sorted(key for key in old if key not in new)),
        ("only now", sorted(key for key in new if key not in old)),
        ("with another label or split", sorted(k for k in old if k in new and old[k] != new[k])),
    ]
    texts = [f"{len(keys):,} {what} ({_some(keys)})" for what, keys in parts if keys]
    return [f"listed clips: {', '.join(texts)}"] if texts else []


def targets_of(clip: Row | SampleEntry) -> Targets:
    """Target values, as the index holds them, group and answers of a clip."""
    return tuple(array("f", clip.target)), clip.group, clip.answers


def targets_of_plan(plan: Plan) -> dict[str, Targets]:
    """Targets of the clips of ``plan`` by key."""
    return {row.key: targets_of(row) for task in plan.tasks for row in task.rows}


def target_differences(old: Mapping[str, Targets], new: Mapping[str, Targets]) -> list[str]:
    """Returns a line with the clips that both have, with other targets, groups or questions."""
    changed = sorted(key for key in old if old[key] != new.get(key, old[key]))
    if not changed:
        return []
    count = f"{len(changed):,} with another target, group or question"
    return [f"listed clips: {count} ({_some(changed)})"]


def refuse(place: str, lines: Sequence[str]) -> ConfigError:
    """Returns the error for a build that was begun with other settings."""
    return ConfigError(
        f"{place} was begun with other settings: {'; '.join(lines)}. Choose another --out, "
        "or start over with --force"
    )


def listing_of_plan(plan: Plan) -> dict[str, tuple[str, str]]:
    """Label and split of all clips that the lists of ``plan`` name, with a file or without."""
    return {clip.key: (clip.label, clip.split) for clip in _clips(plan)}


def _clips(plan: Plan) -> Iterator[Any]:
    for task in plan.tasks:
        yield from task.rows
    yield from plan.absent


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)
