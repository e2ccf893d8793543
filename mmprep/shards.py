"""Reads a finished data set, on disk or in a bucket: description, index, single samples."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from mmprep.config import PartsConfig, complete_stored
from mmprep.errors import ConfigError, DataError
from mmprep.format import DATASET, INDEX, Dataset, crc32c
from mmprep.format.agreement import open_index
from mmprep.format.damage import naming_damage
from mmprep.format.dataset import REMEDY
from mmprep.format.fields import build
from mmprep.format.paths import JOURNAL
from mmprep.format.record import parse_record
from mmprep.storage.store import LocalStore, Store


class Shards:
    """A complete data set on disk or in a bucket, to be used as a context.

    Args:
        store: Place of the data set.

    Attributes:
        store: Place of the data set.
        dataset: Content of `dataset.json`.
        index: Content of `index.h5`.

    Example:
        with Shards(open_store("shards/keypad")) as shards:
            members = shards.read(shards.index.find("digit0001"))

    Raises:
        ConfigError: There is no data set, or its build has not finished.
        DataError: The files are not of this format.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.dataset = read_dataset(store)
        self._spool: tempfile.TemporaryDirectory[str] | None = None
        if isinstance(store, LocalStore):
            path = store.root / INDEX
        else:
            self._spool = tempfile.TemporaryDirectory(prefix="mmprep-")
            path = Path(self._spool.name, INDEX)
            path.write_bytes(store.read(INDEX))
        self.index = open_index(path, self.dataset, store.url)
        self._sizes = {shard.name: shard.bytes for shard in self.dataset.shards}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Removes the local copy of a bucket's index."""
        if self._spool is not None:
            self._spool.cleanup()

    def read(self, row: int, parts: Sequence[str] | None = None) -> dict[str, list[bytes]]:
        """Reads the files of the sample in ``row``, and nothing else.

        Args:
            row: Row of the index.
            parts: Names of the parts to read; None reads all, the record included.

        Returns:
            Part to the bytes of its files.

        Raises:
            DataError: Bytes do not fit their checksum; the message names shard and file.
        """
        if not self.index.fits(row, self._sizes):
            raise DataError(
                f"{self.store.url}/{INDEX}: row {row} points outside its shard; run `mmprep verify`"
            )
        members = self.index.members(row)
        shard = self.index.shards[self.index.shard[row]]
        payload: dict[str, list[bytes]] = {}
        for part in members if parts is None else parts:
            if part not in members:
                raise ConfigError(f"no part {part!r}; {self.store.url} has {', '.join(members)}")
            payload[part] = []
            for member in members[part]:
                data = self.store.read(shard, member.offset, member.offset + member.size)
                if len(data) != member.size or crc32c(data) != member.crc:
                    raise DataError(
                        f"{self.store.url}/{shard}: {member.name} does not fit its checksum; "
                        "run `mmprep verify`"
                    )
                payload[part].append(data)
        return payload

    def record(self, row: int) -> dict[str, Any]:
        """Content of ``KEY.json`` of the sample in ``row``."""
        name = f"{self.store.url}/{self.index.shards[self.index.shard[row]]}"
        data = self.read(row, ["json"])["json"]
        return parse_record(data, f"{name}: {self.index.key[row].decode()}.json")

    def config(self) -> PartsConfig:
        """Parameters of the parts.

        Raises:
            DataError: `dataset.json` holds parameters that this format does not have.
        """
        return parts_config(self.dataset, self.store.url)


def parts_config(dataset: Dataset, place: str) -> PartsConfig:
    """Parameters of the parts of the data set at ``place``.

    Raises:
        DataError: It holds parameters that this format does not have.
    """
    return parse_parts(dataset.parts, f"{place}/{DATASET}")


def parse_parts(parts: Mapping[str, Any], origin: str) -> PartsConfig:
    """Parameters of the parts from the plain values of `dataset.json`.

    Args:
        parts: The plain values.
        origin: Name of the file, for error messages.

    Raises:
        DataError: They hold parameters that this format does not have.
    """
    with naming_damage(origin, REMEDY, "damaged parameters of the parts"):
        return build(PartsConfig, complete_stored(dict(parts)))


def read_dataset(store: Store) -> Dataset:
    """Reads the description of the data set at ``store``.

    Raises:
        ConfigError: There is no `dataset.json`, so no data set or an unfinished one.
        DataError: It is not of this format.
    """
    if store.size(DATASET) is None:
        if store.size(JOURNAL) is not None:
            raise ConfigError(f"{store.url}: a repair was interrupted; run `mmprep repair` again")
        raise ConfigError(
            f"{store.url}: no {DATASET}; not a data set, or a build that has not finished "
            "(run the same `mmprep build` again)"
        )
    try:
        text = store.read(DATASET).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{store.url}/{DATASET}: not UTF-8; it was changed or damaged") from error
    return Dataset.from_json(text, f"{store.url}/{DATASET}")
