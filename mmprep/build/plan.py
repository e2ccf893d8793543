"""The plan of a build: which row goes into which shard.

It is written before any work begins, and every later run of the build continues it.
"""

import hashlib
import json
import platform
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from typing import Any, Final, Self

from mmprep.build.collection import without_collection
from mmprep.build.stamps import Stamp
from mmprep.config import PartsConfig, complete_stored
from mmprep.errors import DataError
from mmprep.failure import Failure
from mmprep.format.damage import naming_damage
from mmprep.format.dataset import TASKS
from mmprep.format.fields import build, parse_json
from mmprep.format.paths import task_name
from mmprep.manifest import SPLITS, Row, safe_key, target_faults

_VERSION: Final = 1
# Libraries on which the bytes of every shard depend.
_LIBRARIES: Final = ("av", "numpy", "opencv-contrib-python-headless", "scipy", "simplejpeg")
_RECIPE_LIBRARIES: Final = {"psd": (), "stft": ("librosa",), "fbank": ("torch", "torchaudio")}


@dataclass(frozen=True, kw_only=True)
class Task:
    """A shard that is to be made.

    Attributes:
        name: Path of the shard in the output, without suffix.
        split: Name of the split.
        rows: Rows of the manifest, in the order of the shard.
    """

    name: str
    split: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that the bytes of a data set depend on, except the content of the clips.

    Attributes:
        name: Name of the data set.
        title: One-line title for people.
        classes: Class names in the order of their ids.
        modalities: Modalities, for example ``("audio", "visual")``.
        licence: Terms of the source data.
        parts: Parts of each sample and their parameters.
        raw: Folder or URL of the raw clips, as the command named it.
        seed: Seed of the order of rows.
        shard_size: Largest number of rows in a shard.
        tasks: Every shard that is to be made.
        listed: Digest of the clips that the lists name, see `listing_digest`.
        absent: Listed clips that have no file.
        made_by: Versions of the libraries that make the bytes.
        limit: Number of clips that were asked for; None is all.
        base: Root of the data set that the plan extends; empty for a new data set.
        stamps: Size, time and digest of every source, see `mmprep.build.stamps`.
        task: Task of training that the labels are made for, see `mmprep.format.dataset.TASKS`.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    licence: str
    parts: PartsConfig
    raw: str
    seed: int
    shard_size: int
    tasks: tuple[Task, ...]
    listed: str
    absent: tuple[Failure, ...] = ()
    made_by: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    base: str = ""
    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    task: str = TASKS[0]

    @property
    def rows(self) -> int:
        """Number of clips that the plan reads."""
        return sum(len(task.rows) for task in self.tasks)

    @property
    def request(self) -> dict[str, Any]:
        """Settings of the plan, for a dry run."""
        return {
            "data set": self.name,
            "classes": list(self.classes),
            "parts": self.parts.to_json(),
            "seed": self.seed,
            "shard size": self.shard_size,
            "versions": dict(self.made_by),
            "listed clips": self.listed,
        }

    @without_collection()
    def to_json(self) -> str:
        """Text of `plan.json`."""
        plain = {
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "parts": self.parts.to_json(),
            "tasks": [_task_json(task) for task in self.tasks],
            "absent": [asdict(failure) for failure in self.absent],
            "stamps": {path: stamp.to_json() for path, stamp in self.stamps.items()},
            "version": _VERSION,
        }
        return json.dumps(plain, ensure_ascii=False)

    @classmethod
    @without_collection()
    def from_json(cls, text: str | bytes, origin: str) -> Self:
        """Reads a plan.

        Args:
            text: Content of `plan.json`.
            origin: Name of the file, for error messages.

        Raises:
            DataError: The plan is damaged or of another version.
        """
        with naming_damage(origin, "use --force to start over", "damaged"):
            plain = parse_json(text)
            if plain.pop("version") != _VERSION:
                raise DataError(f"{origin}: begun by another mmprep; finish there, or use --force")
            plain["parts"] = complete_stored(plain["parts"])
            plan = build(cls, plain)
            for task in plan.tasks:
                if task_name(task.name, origin).partition("/")[0] != task.split:
                    raise ValueError(f"{task.name} is no shard of the split {task.split!r:.40}")
                check_rows(task.rows)
        return plan


def _task_json(task: Task) -> dict[str, Any]:
    return {"name": task.name, "split": task.split, "rows": [row.to_json() for row in task.rows]}


def check_rows(rows: Iterable[Row]) -> None:
    """Refuses rows of a stranger's file whose keys would name other files than a sample's.

    Raises:
        ValueError: A key has other letters than a key may have, or targets are malformed.
    """
    for row in rows:
        if safe_key(row.key) != row.key:
            raise ValueError(f"{row.key!r:.100} is no key of a sample")
        if not (row.sources or row.texts or row.questions):
            raise ValueError(f"{row.key} has no source")
        if fault := next(target_faults(row), None):
            raise ValueError(f"{row.key}: {fault}")


def listing_digest(rows: Iterable[Row], absent: Iterable[Failure]) -> str:
    """Digest of all clips that the lists name, with a file or without.

    Clips without a file count too, so that a download between two runs does not look like another
    request and stop the second run.
    """
    clips: tuple[Row | Failure, ...] = (*rows, *absent)
    names = ((clip.key, clip.label, clip.split) for clip in clips)
    return hashlib.sha256(repr(sorted(names)).encode()).hexdigest()[:16]


def versions(parts: PartsConfig, decoder: str) -> dict[str, str]:
    """Name of the decoder, and versions of the libraries on which the bytes of ``parts`` depend."""
    names: tuple[str, ...] = (*_LIBRARIES, "decord") if decoder == "decord" else _LIBRARIES
    if "spectrogram" in parts.names:
        names += _RECIPE_LIBRARIES[parts.spectrogram.recipe]
    from mmprep.version import VERSION

    program = {"mmprep": VERSION, "machine": platform.machine(), "decoder": decoder}
    return program | {name: metadata.version(name) for name in sorted(names)}


def tasks(rows: Sequence[Row], *, seed: int, shard_size: int) -> tuple[Task, ...]:
    """Shards of up to ``shard_size`` of ``rows``, split by split, shuffled by ``seed``."""
    planned: list[Task] = []
    for split in SPLITS:
        mixed = sorted(
            (row for row in rows if row.split == split), key=lambda row: rank(row.key, seed)
        )
        for number, start in enumerate(range(0, len(mixed), shard_size)):
            rows_of_shard = tuple(mixed[start : start + shard_size])
            planned.append(Task(name=f"{split}/{number:06d}", split=split, rows=rows_of_shard))
    return tuple(planned)


def trial_rows(rows: Sequence[Row], limit: int, *, seed: int) -> list[Row]:
    """Takes ``limit`` rows in turn from every split and class, so that a trial covers them all."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: rank(row.key, seed)):
        groups[row.split, row.label].append(row)
    ordered = sorted(groups, key=lambda group: (SPLITS.index(group[0]), group[1]))
    turns = sorted(
        (turn, n) for n, group in enumerate(ordered) for turn in range(len(groups[group]))
    )
    return [groups[ordered[n]][turn] for turn, n in turns[:limit]]


def rank(key: str, seed: int) -> bytes:
    """Sort key that shuffles the samples of a split.

    It depends on the sample's own key and the seed alone, so adding or removing other samples
    leaves the relative order of the rest as it was.
    """
    return hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=16).digest()
