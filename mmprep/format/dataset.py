"""`dataset.json`, the description of a data set; written last, so its presence means complete."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from mmprep.errors import DataError
from mmprep.format.damage import naming_damage
from mmprep.format.fields import build, parse_json
from mmprep.format.parts import PARTS
from mmprep.format.paths import STATE, safe_path

# The newest format. A data set is of the oldest that can hold it, so that older readers read it.
FORMAT_VERSION: Final = 2
_OLDEST: Final = 1
# Tasks that labels and targets are made for; a data set without a `task` is of the first.
TASKS: Final = ("classification", "binary", "regression", "localisation", "answers")
# Uses of format 2: columns of the index, several rows a clip, samples that lack a part.
ADDITIONS: Final = ("target", "group", "questions", "missing")
DATASET: Final = "dataset.json"
INDEX: Final = "index.h5"
FAILURES: Final = "failures.jsonl"
# Advice for a damaged description.
REMEDY: Final = "copy the data set again, or build it anew"


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """One tar.

    Attributes:
        name: Path relative to the data set.
        samples: Number of clips in it: a clip with questions counts once.
        bytes: Size of the file.
        sha256: Digest of the file.
    """

    name: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SplitInfo:
    """One split.

    Attributes:
        samples: Number of samples: each question about a clip counts.
        classes: Number of samples of each class that occurs.
    """

    samples: int
    classes: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The content of `dataset.json`.

    Attributes:
        name: Name of the data set for ``--dataset``, or the name of the manifest.
        title: One-line title for people.
        classes: Class names in the order of their ids.
        modalities: Modalities, for example ``("audio", "visual")``.
        parts: Parts and their parameters, as `mmprep.config.PartsConfig` writes them.
        splits: Split to its counts.
        shards: Every tar, in the order of the index.
        failures: Cause to the number of clips that gave no sample for it.
        files: SHA-256 of `index.h5` and `failures.jsonl`.
        made_by: Versions of the libraries on which the bytes depend.
        request: Settings that `mmprep repair` needs: seed, shard size, place of the raw clips.
        licence: Terms of the source data.
        task: Task of training that the labels are made for, one of `TASKS`.
        additions: Names in `ADDITIONS` of the uses of format 2, in that order.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    parts: Mapping[str, Any]
    splits: Mapping[str, SplitInfo]
    shards: tuple[ShardInfo, ...]
    failures: Mapping[str, int]
    files: Mapping[str, str]
    made_by: Mapping[str, str]
    request: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    task: str = TASKS[0]
    additions: tuple[str, ...] = ()

    @property
    def format(self) -> int:
        """Version of the format that the data set needs."""
        return _OLDEST if self.task == TASKS[0] and not self.additions else FORMAT_VERSION

    @property
    def samples(self) -> int:
        """Number of samples of all splits."""
        return sum(split.samples for split in self.splits.values())

    @property
    def root(self) -> str:
        """SHA-256 over all content: equal roots mean equal samples, parameters and failures.

        The request is left out, because the place of the raw clips changes no sample.
        """
        return _digest({k: v for k, v in self._content().items() if k != "request"})

    def to_json(self) -> str:
        """Text of `dataset.json`; its ``checksum`` covers ``request`` too."""
        content = self._content()
        head = {"format": self.format, "root": self.root, "checksum": _digest(content)}
        return json.dumps({**head, **content}, indent=1, ensure_ascii=False) + "\n"

    def _content(self) -> dict[str, Any]:
        """Plain values of the fields; without those of format 2 in a data set of format 1."""
        content = asdict(self)
        if self.format == _OLDEST:
            del content["task"], content["additions"]
        return content

    @classmethod
    def from_json(cls, text: str, origin: str) -> Self:
        """Reads a description.

        Args:
            text: Content of `dataset.json`.
            origin: Name of the file, for error messages.

        Raises:
            DataError: The text is no JSON, of a newer format, lacks fields, or does not fit its
                hashes.
        """
        with naming_damage(origin, REMEDY, "not a data set of this format"):
            plain = parse_json(text)
            # The version is read first, because a newer format may lack or rename everything else.
            version = plain.pop("format", None)
            if version is not None and version not in range(_OLDEST, FORMAT_VERSION + 1):
                raise DataError(
                    f"{origin}: format {version!r}; this mmprep reads up to "
                    f"{FORMAT_VERSION}. Upgrade mmprep"
                )
            if version is None or not {"root", "checksum"} <= set(plain):
                raise ValueError("lacks its format or its hashes")
            root, checksum = plain.pop("root"), plain.pop("checksum")
        with naming_damage(origin, REMEDY, "fields are missing or unknown"):
            dataset = build(cls, plain)
            hashes = dataset.root, _digest(dataset._content())
        if hashes != (root, checksum) or dataset.to_json() != text:
            raise DataError(f"{origin}: was changed or damaged; its hashes do not fit its content")
        for name in (*dataset.files, *(shard.name for shard in dataset.shards)):
            if safe_path(name, origin) == DATASET or name.startswith(STATE):
                raise DataError(
                    f"{origin}: names {name!r}, which is no file of a data set; refused"
                )
        with naming_damage(origin, REMEDY, "not a data set of this format"):
            _check_values(dataset)
        return dataset


def _check_values(dataset: Dataset) -> None:
    """Raises `ValueError` for values that have the right types and yet cannot be."""
    numbers = [
        *(number for shard in dataset.shards for number in (shard.samples, shard.bytes)),
        *(number for split in dataset.splits.values() for number in split.classes.values()),
        *(split.samples for split in dataset.splits.values()),
        *dataset.failures.values(),
    ]
    if min(numbers, default=0) < 0:
        raise ValueError("a number of samples or bytes is below 0")
    if dataset.task not in TASKS:
        raise ValueError(f"the task {dataset.task!r:.40} is none of {', '.join(TASKS)}")
    if list(dataset.additions) != [name for name in ADDITIONS if name in dataset.additions]:
        raise ValueError(f"the additions are {dataset.additions!r:.60}")
    if len({shard.name for shard in dataset.shards}) != len(dataset.shards):
        raise ValueError("a shard is listed twice")
    if len(set(dataset.classes)) != len(dataset.classes):
        raise ValueError("a class is listed twice")
    tables = {*PARTS, *(table for part in PARTS.values() for table in part.settings)}
    for name, value in dataset.parts.items():
        kind = {"names": list, **dict.fromkeys(tables, dict)}.get(name)
        if kind is not None and type(value) is not kind:
            raise ValueError(f"parts.{name} is {value!r:.40}")
        flat = value.values() if isinstance(value, dict) else value if name == "names" else [value]
        if any(isinstance(each, (dict, list)) for each in flat):
            raise ValueError(f"the parameters of parts.{name} are not plain values")


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
