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

FORMAT_VERSION: Final = 1
# Tasks that labels and targets are made for; a data set without a `task` is of the first.
TASKS: Final = ("classification", "binary", "regression", "localisation", "answers")
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
        samples: Number of samples in it.
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
        samples: Number of samples.
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

    @property
    def samples(self) -> int:
        """Number of samples of all splits."""
        return sum(split.samples for split in self.splits.values())

    @property
    def root(self) -> str:
        """SHA-256 over all content: equal roots mean equal samples, parameters and failures.

        The request is left out, because the place of the raw clips changes no sample.
        """
        return _digest({k: v for k, v in asdict(self).items() if k != "request"})

    def to_json(self) -> str:
        """Text of `dataset.json`; its ``checksum`` covers ``request`` too."""
        head = {"format": FORMAT_VERSION, "root": self.root, "checksum": _digest(asdict(self))}
        return json.dumps({**head, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"

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
            if (version := plain.pop("format", None)) not in (None, FORMAT_VERSION):
                raise DataError(
                    f"{origin}: format {version!r}; this mmprep reads {FORMAT_VERSION}. "
                    "Upgrade mmprep"
                )
            if version is None or not {"root", "checksum"} <= set(plain):
                raise ValueError("lacks its format or its hashes")
            root, checksum = plain.pop("root"), plain.pop("checksum")
        with naming_damage(origin, REMEDY, "fields are missing or unknown"):
            dataset = build(cls, plain)
            hashes = dataset.root, _digest(asdict(dataset))
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
