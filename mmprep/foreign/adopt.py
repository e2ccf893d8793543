"""Makes a data set of tars that other tools wrote: `dataset.json` and `index.h5`, and no copy."""

import hashlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mmprep.errors import ConfigError, DataError
from mmprep.foreign.members import ForeignSample, Hashing, read_samples
from mmprep.format import (
    DATASET,
    INDEX,
    Dataset,
    ShardInfo,
    SplitInfo,
    write_index,
)
from mmprep.format.fields import parse_json
from mmprep.format.parts import RECORD
from mmprep.format.paths import safe_path
from mmprep.format.placed import with_places
from mmprep.format.tar import BLOCK, SampleEntry
from mmprep.storage.store import LocalStore
from mmprep.version import VERSION

log = logging.getLogger(__name__)

_MODALITIES: Final[Mapping[str, str]] = {"frames": "visual", "spectrogram": "audio"}
_LONGEST_KEY: Final = 80


@dataclass(frozen=True, kw_only=True)
class LabelRule:
    """Where the label of a sample stands.

    Attributes:
        kind: ``cls``, the text of ``KEY.cls``; ``json``, a field of ``KEY.json``; ``folder``, the
            last folder in the sample's name.
        field: Name of that field.
    """

    kind: str = "cls"
    field: str = "label"

    @property
    def member(self) -> str:
        """Name behind ``KEY.`` of the member that holds the label; empty for ``folder``."""
        return "" if self.kind == "folder" else self.kind

    def label(self, sample: ForeignSample, place: str) -> str:
        """Label of a sample.

        Raises:
            DataError: It has none.
        """
        if self.kind == "folder":
            folder = sample.name.rpartition("/")[0].rpartition("/")[2]
            value: object = folder or None
        else:
            value = self._value(sample.label)
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            what = "folder in its name" if self.kind == "folder" else f"label in .{self.member}"
            raise DataError(f"{place}: sample {sample.name!r} has no {what}; see --label")
        return str(value)

    def _value(self, data: bytes | None) -> object:
        try:
            text = (data or b"").decode().strip()
            return text if self.kind == "cls" else parse_json(text)[self.field]
        except (ValueError, KeyError, TypeError):
            return None


def label_rule(text: str) -> LabelRule:
    """Rule that ``.cls``, ``.json:FIELD`` or ``folder`` stands for.

    Raises:
        ConfigError: Another text.

    Example:
        >>> label_rule(".json:category")
        LabelRule(kind='json', field='category')
    """
    match = re.fullmatch(r"\.?(cls|folder|json)(?::(.+))?", text)
    if not match or (match[2] and match[1] != "json"):
        raise ConfigError(f"--label takes .cls, .json:FIELD or folder; got {text!r}")
    return LabelRule(kind=match[1], field=match[2] or LabelRule.field)


@dataclass
class _Rows:
    """Rows of the index while tars are read."""

    parts: tuple[str, ...] = ()
    entries: list[tuple[SampleEntry, str, str, str]] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    shards: list[ShardInfo] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def add(self, sample: ForeignSample, label: str, split: str, shard: str) -> None:
        """Adds one sample.

        Raises:
            DataError: Its parts are others than those of the first, or its name is taken.
        """
        parts = tuple(sample.parts)
        self.parts = self.parts or parts
        if parts != self.parts or not parts:
            raise DataError(
                f"{shard}: sample {sample.name!r} has {', '.join(parts) or 'no part'}, and others "
                f"{', '.join(self.parts) or 'none either'}; all need the same parts in the same "
                "order"
            )
        members = [member for part in parts for member in sample.parts[part]]
        self.entries.append(
            (
                SampleEntry(
                    key=self._key(sample.name, shard),
                    start=members[0].begin - BLOCK,
                    counts=(0, *(len(sample.parts[part]) for part in parts)),
                    sizes=tuple(member.size for member in members),
                    crcs=tuple(member.crc for member in members),
                ),
                label,
                split,
                shard,
            )
        )
        self.begins += [member.begin for member in members]

    def _key(self, name: str, shard: str) -> str:
        key = re.sub(r"[^A-Za-z0-9_-]", "_", name)
        if not key or len(key) > _LONGEST_KEY:
            raise DataError(f"{shard}: the name {name!r} is no key: it has 1 to 80 letters")
        if key in self.names:
            raise DataError(
                f"{shard}: sample {name!r} has the key {key}, as {self.names[key]}; rename one"
            )
        self.names[key] = f"{name!r} of {shard}"
        return key


def adopt(
    tars: Sequence[Path], out: Path, splits: Mapping[str, Sequence[str]], rule: LabelRule
) -> Dataset:
    """Writes `index.h5` and `dataset.json` for tars into ``out``, and returns the description.

    Tars below ``out`` stay where they are; of others ``out`` gets links.

    Args:
        tars: The tars.
        out: Folder of the data set.
        splits: Split to patterns of the tars' names; without any, a tar is of the split after which
            its folder is named.
        rule: Where labels stand.

    Raises:
        ConfigError: A tar is of no split or of two, or ``out`` holds a data set already.
        DataError: A tar cannot be described; names it, and the member.
    """
    if (out / DATASET).exists():
        raise ConfigError(f"{out} holds a data set already; choose another --out")
    by_split = _by_split(tars, splits)
    rows = _Rows()
    for split, own in by_split.items():
        for tar in own:
            _read(tar, split, rows, rule, out)
    classes = _classes([label for _, label, _, _ in rows.entries])
    rows.entries = [
        (entry, label if label in classes else str(int(label)), split, shard)
        for entry, label, split, shard in rows.entries
    ]
    index = _index(rows, classes, [*by_split])
    store = LocalStore(out)
    for split, own in by_split.items():
        for tar in own:
            _link(tar, out / _name_in(out, tar, split))
    store.write(INDEX, index)
    dataset = Dataset(
        name=out.resolve().name,
        title=f"{out.resolve().name}, tars of another tool",
        classes=classes,
        modalities=tuple(_MODALITIES.get(part, part) for part in rows.parts),
        parts={"names": list(rows.parts)},
        splits={split: _counts(rows, split) for split in by_split},
        shards=tuple(rows.shards),
        failures={},
        files={INDEX: hashlib.sha256(index).hexdigest()},
        made_by={"mmprep": VERSION},
    )
    store.write(DATASET, dataset.to_json().encode())
    return dataset


def _by_split(tars: Sequence[Path], splits: Mapping[str, Sequence[str]]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {split: [] for split in splits or ("train", "val", "test")}
    for tar in sorted(set(tars)):
        of = [s for s, patterns in splits.items() if any(map(tar.match, patterns))]
        if not splits and tar.parent.name in found:
            of = [tar.parent.name]
        if len(of) != 1:
            what = "of no split" if not of else f"of {' and '.join(of)}"
            raise ConfigError(f"{tar} is {what}; say --split train='train-*.tar', for each split")
        found[of[0]].append(tar)
    if not found.get("train"):
        raise ConfigError("no tar is of the split train; say --split train='train-*.tar'")
    return {split: own for split, own in found.items() if own}


def _read(tar: Path, split: str, rows: _Rows, rule: LabelRule, out: Path) -> None:
    name = safe_path(_name_in(out, tar, split), str(tar))
    before = len(rows.entries)
    with tar.open("rb") as opened:
        file = Hashing(opened)
        for sample in read_samples(file, str(tar), rule.member):
            rows.add(sample, rule.label(sample, str(tar)), split, name)
    rows.shards.append(
        ShardInfo(
            name=name,
            samples=len(rows.entries) - before,
            bytes=file.size,
            sha256=file.digest.hexdigest(),
        )
    )
    if rows.shards[-1].name in {shard.name for shard in rows.shards[:-1]}:
        raise ConfigError(f"two tars would be {name} in the data set; rename one")
    log.info("%s: %d samples", tar, rows.shards[-1].samples)


def _name_in(out: Path, tar: Path, split: str) -> str:
    """Path of a tar in the data set."""
    whole, home = tar.resolve(), out.resolve()
    return (
        whole.relative_to(home).as_posix() if whole.is_relative_to(home) else f"{split}/{tar.name}"
    )


def _link(tar: Path, name: Path) -> None:
    if name.exists() and name.samefile(tar):
        return
    name.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(tar, name)
    except OSError:  # On another file system.
        name.symlink_to(tar.resolve())


def _classes(labels: Sequence[str]) -> tuple[str, ...]:
    """Names of the classes: sorted, numbers by their value and without a gap between them."""
    names = set(labels)
    if all(name.isdecimal() and len(name) < 6 for name in names):
        return tuple(str(number) for number in range(max(map(int, names)) + 1))
    return tuple(sorted(names))


def _index(rows: _Rows, classes: Sequence[str], splits: Sequence[str]) -> bytes:
    numbers = {name: number for number, name in enumerate(classes)}
    shards = [shard.name for shard in rows.shards]
    entries = (
        (entry, numbers[label], splits.index(split), shards.index(shard))
        for entry, label, split, shard in rows.entries
    )
    index = write_index(
        entries, classes=classes, splits=splits, shards=shards, parts=(RECORD, *rows.parts)
    )
    return with_places(index, rows.begins)


def _counts(rows: _Rows, split: str) -> SplitInfo:
    labels = [label for _, label, own, _ in rows.entries if own == split]
    return SplitInfo(
        samples=len(labels), classes={name: labels.count(name) for name in sorted(set(labels))}
    )
