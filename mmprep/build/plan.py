"""The plan: which row goes into which shard. Written before any work; any run continues it."""

import hashlib
import json
import platform
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any, Final, Self

from mmprep.config import PartsConfig
from mmprep.errors import DataError
from mmprep.failure import Failure
from mmprep.manifest import SPLITS, Row

_VERSION: Final = 1
# The bytes of a shard depend on these.
_LIBRARIES: Final = ("av", "numpy", "opencv-contrib-python-headless", "scipy", "simplejpeg")
_RECIPE_LIBRARIES: Final = {"psd": (), "stft": ("librosa",), "fbank": ("torch", "torchaudio")}


@dataclass(frozen=True, kw_only=True)
class Task:
    """One shard to be: its path without suffix, and its rows in order."""

    name: str
    split: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that the bytes of a data set depend on, the clips' content apart.

    Attributes:
        name: Data set.
        title: One line for people.
        classes: In the order of their ids.
        modalities: For example ``("audio", "visual")``.
        licence: Terms of the source data.
        parts: Which parts, and how.
        raw: Where the clips lie, a folder or a URL, as the command named it.
        seed: Of the order of rows.
        shard_size: Rows a shard.
        tasks: Every shard.
        listed: Digest of the clips that the lists name, see `listed`.
        absent: Listed clips without a file.
        made_by: Versions of what makes the bytes.
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

    @property
    def rows(self) -> int:
        """Clips that the plan reads."""
        return sum(len(task.rows) for task in self.tasks)

    @property
    def request(self) -> dict[str, Any]:
        """What a second run must ask for to continue the first."""
        return {
            "data set": self.name,
            "classes": list(self.classes),
            "parts": self.parts.to_json(),
            "seed": self.seed,
            "shard size": self.shard_size,
            "versions": dict(self.made_by),
            "listed clips": self.listed,
        }

    def to_json(self) -> str:
        """The text of `plan.json`."""
        plain = {**asdict(self), "parts": self.parts.to_json(), "version": _VERSION}
        return json.dumps(plain, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes, origin: str) -> Self:
        """Reads the text of `plan.json`; ``origin`` is for messages.

        Raises:
            DataError: Not a plan of this version.
        """
        try:
            plain = json.loads(text)
            if plain.pop("version") != _VERSION:
                raise DataError(f"{origin}: begun by another mmprep; finish there, or use --force")
            plain["parts"] = PartsConfig.from_json(plain["parts"])
            plain["tasks"] = tuple(
                Task(**{**task, "rows": tuple(Row(**row) for row in task["rows"])})
                for task in plain["tasks"]
            )
            plain["absent"] = tuple(Failure(**failure) for failure in plain["absent"])
            for name in ("classes", "modalities"):
                plain[name] = tuple(plain[name])
            return cls(**plain)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{origin}: damaged ({error!r}); use --force to start over") from error


def listed(rows: Iterable[Row], absent: Iterable[Failure]) -> str:
    """Digest of all clips that the lists name, found or not: a download must not stop a resume."""
    clips: tuple[Row | Failure, ...] = (*rows, *absent)
    names = ((clip.key, clip.label, clip.split) for clip in clips)
    return hashlib.sha256(repr(sorted(names)).encode()).hexdigest()[:16]


def versions(parts: PartsConfig, decoder: str) -> dict[str, str]:
    """The decoder, and versions of the libraries that the bytes of ``parts`` depend on."""
    names: tuple[str, ...] = (*_LIBRARIES, "decord") if decoder == "decord" else _LIBRARIES
    if "spectrogram" in parts.names:
        names += _RECIPE_LIBRARIES[parts.spectrogram.recipe]
    from mmprep import __version__

    own = {"mmprep": __version__, "machine": platform.machine(), "decoder": decoder}
    return own | {name: metadata.version(name) for name in sorted(names)}


def tasks(rows: Sequence[Row], *, seed: int, shard_size: int) -> tuple[Task, ...]:
    """Divides ``rows`` into shards of up to ``shard_size``, by split, shuffled by ``seed``."""
    planned: list[Task] = []
    for split in SPLITS:
        mixed = sorted(
            (row for row in rows if row.split == split), key=lambda row: rank(row.key, seed)
        )
        for number, start in enumerate(range(0, len(mixed), shard_size)):
            part = tuple(mixed[start : start + shard_size])
            planned.append(Task(name=f"{split}/{number:06d}", split=split, rows=part))
    return tuple(planned)


def limited(rows: Sequence[Row], limit: int, *, seed: int) -> list[Row]:
    """``limit`` of ``rows``, in turn from every split and class, so that a trial has them all."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: rank(row.key, seed)):
        groups[row.split, row.label].append(row)
    ordered = sorted(groups, key=lambda group: (SPLITS.index(group[0]), group[1]))
    turns = sorted(
        (turn, n) for n, group in enumerate(ordered) for turn in range(len(groups[group]))
    )
    return [groups[ordered[n]][turn] for turn, n in turns[:limit]]


def rank(key: str, seed: int) -> bytes:
    """Where a sample stands among those of its split: a shuffle that no other sample changes."""
    return hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=16).digest()
