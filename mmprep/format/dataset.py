"""`dataset.json`: what a data set holds. It is written last: its presence means complete."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from mmprep.errors import DataError

FORMAT_VERSION: Final = 1
DATASET: Final = "dataset.json"
INDEX: Final = "index.h5"
FAILURES: Final = "failures.jsonl"
# No component begins with a dot, so nothing leads out of the data set.
_FILE: Final = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """One tar: path relative to the data set, samples in it, bytes, SHA-256."""

    name: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SplitInfo:
    """One split: its samples, and how many of each class."""

    samples: int
    classes: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The content of `dataset.json`.

    Attributes:
        name: Data set, as ``--dataset`` takes it, or the name of the manifest.
        title: One line for people.
        classes: Class names in the order of their ids.
        modalities: For example ``("audio", "visual")``.
        parts: Part to its parameters, as `mmprep.config.PartsConfig` writes them.
        splits: Split to its counts.
        shards: Every tar.
        failures: Cause to how many clips gave no sample for it.
        files: SHA-256 of `index.h5` and `failures.jsonl`.
        made_by: Versions that the bytes depend on.
        request: What `mmprep repair` needs to go on: seed, shard size, where the raw clips lie.
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
        """Samples of all splits."""
        return sum(split.samples for split in self.splits.values())

    @property
    def root(self) -> str:
        """SHA-256 over all content: equal roots mean equal samples, parameters and failures.

        Where the raw clips lay when the shards were made is left out, for it changes no sample.
        """
        return _digest({k: v for k, v in asdict(self).items() if k != "request"})

    def to_json(self) -> str:
        """The text of `dataset.json`; ``checksum`` covers ``request`` too."""
        head = {"format": FORMAT_VERSION, "root": self.root, "checksum": _digest(asdict(self))}
        return json.dumps({**head, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, origin: str) -> Self:
        """Reads the text of `dataset.json`; ``origin`` is for messages.

        Raises:
            DataError: Not JSON, a newer format, missing fields, or a root that does not fit.
        """
        try:
            plain = json.loads(text)
            # First of all: a newer format may lack or rename everything else.
            if (version := plain.pop("format")) != FORMAT_VERSION:
                raise DataError(
                    f"{origin}: format {version!r}; this mmprep reads {FORMAT_VERSION}. "
                    "Upgrade mmprep"
                )
            root, checksum = plain.pop("root"), plain.pop("checksum")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{origin}: not a data set of this format ({error!r})") from error
        try:
            plain["shards"] = tuple(ShardInfo(**shard) for shard in plain["shards"])
            plain["splits"] = {name: SplitInfo(**split) for name, split in plain["splits"].items()}
            for name in ("classes", "modalities"):
                plain[name] = tuple(plain[name])
            dataset = cls(**plain)
            found = dataset.root, _digest(asdict(dataset))
        # ValueError: half of a surrogate pair has no UTF-8, hence no digest.
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"{origin}: fields are missing or unknown ({error})") from error
        if found != (root, checksum) or dataset.to_json() != text:
            raise DataError(f"{origin}: was changed or damaged; its hashes do not fit its content")
        for name in (*dataset.files, *(shard.name for shard in dataset.shards)):
            if not _FILE.fullmatch(name) or name == DATASET:
                raise DataError(
                    f"{origin}: names {name!r}, which is no file of a data set; refused"
                )
        return dataset


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
