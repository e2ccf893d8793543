"""Shards: USTAR archives whose bytes depend on nothing but their samples.

A sample is consecutive members ``KEY.json``, ``KEY.frame00.jpg`` ..., ``KEY.spectrogram.npy``,
``KEY.flow00.jpg`` ... Time, owner and mode of a member are fixed, and the archive ends in two empty
blocks without further padding, so the same samples give the same bytes everywhere.
"""

import hashlib
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Final, TypeAlias

import numpy as np
from crc32c import crc32c as _crc32c
from numpy.typing import NDArray

from mmprep.errors import DataError
from mmprep.format.dataset import ShardInfo
from mmprep.format.parts import RECORD, part_named

BLOCK: Final = 512
_LARGEST: Final = 8 << 30  # what eleven octal digits hold; a larger or negative size is no USTAR

# Part to the bytes of its members, `RECORD` among them.
Payload: TypeAlias = Mapping[str, Sequence[bytes]]


def crc32c(data: bytes | NDArray[np.uint8], before: int = 0) -> int:
    """CRC32C (Castagnoli) of ``data``, as the index keeps it for every member.

    Args:
        data: Bytes; where they are many, other threads run meanwhile.
        before: That of what comes before it.
    """
    return _crc32c(data, before)  # type: ignore[arg-type]  # To mypy an array is no buffer.


def member_names(key: str, part: str, count: int) -> list[str]:
    """Names of the ``count`` members of one part of one sample, in their order in the archive."""
    return part_named(part).member_names(key, count)


def padded_size(size: int) -> int:
    """Bytes that a member of ``size`` bytes takes in the archive behind its header."""
    return -(-size // BLOCK) * BLOCK


def header(name: str, size: int) -> bytes:
    """The 512-byte USTAR header of a regular file; everything but name and size is fixed."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)


class ShardWriter:
    """Writes samples into an open file and remembers what the index needs.

    Args:
        file: Binary file, empty, open for writing.
        parts: Parts of every sample, without the record, in order.

    Attributes:
        size: Bytes written so far.
        digest: SHA-256 of them.
    """

    def __init__(self, file: IO[bytes], parts: Sequence[str]) -> None:
        self._file = file
        self._parts = (RECORD, *parts)
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, key: str, payload: Payload) -> "SampleEntry":
        """Appends one sample and returns its row for the index."""
        start = self.size
        blocks: list[bytes] = []
        for part in self._parts:
            for name, data in zip(
                member_names(key, part, len(payload[part])), payload[part], strict=True
            ):
                blocks += [header(name, len(data)), data, bytes(padded_size(len(data)) - len(data))]
        self._put(b"".join(blocks))
        members = [data for part in self._parts for data in payload[part]]
        return SampleEntry(
            key=key,
            start=start,
            counts=tuple(len(payload[part]) for part in self._parts),
            sizes=tuple(map(len, members)),
            crcs=tuple(map(crc32c, members)),
        )

    def copy(self, data: bytes, entry: "SampleEntry") -> "SampleEntry":
        """Appends a sample as another shard has it: headers, bytes and padding."""
        start = self.size
        self._put(data)
        return replace(entry, start=start)

    def info(self, name: str, samples: int) -> ShardInfo:
        """What `dataset.json` says of the shard, once it is closed."""
        return ShardInfo(
            name=name, samples=samples, bytes=self.size, sha256=self.digest.hexdigest()
        )

    def close(self) -> None:
        """Ends the archive with two empty blocks; the file stays open."""
        self._put(bytes(2 * BLOCK))

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self.digest.update(data)
        self.size += len(data)


@dataclass(frozen=True, kw_only=True)
class SampleEntry:
    """Where one sample lies in its shard: byte start, then members by part with size and CRC32C."""

    key: str
    start: int
    counts: tuple[int, ...]
    sizes: tuple[int, ...]
    crcs: tuple[int, ...]


def read_members(file: IO[bytes], name: str) -> Iterator[tuple[str, int, bytes]]:
    """Yields ``(member, byte offset of its data, data)`` from the start of a shard to its end.

    Reads forward only, so ``file`` may be a stream out of a bucket.

    Raises:
        DataError: A header that does not check, a short body, a link, a folder or a path in place
            of a plain name; ``name`` and the member are in the message.
    """
    offset = 0
    while True:
        block = file.read(BLOCK)
        offset += BLOCK
        if block == bytes(BLOCK):
            return
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise DataError(f"{name}: no tar header at byte {offset - BLOCK} ({error})") from error
        plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and 0 <= info.size < _LARGEST
        if not plain or not info.name or "/" in info.name or info.name.startswith("."):
            raise DataError(f"{name}: {info.name!r} is not a plain file of a sample; refused")
        data = file.read(padded_size(info.size))
        if len(data) < padded_size(info.size):
            raise DataError(f"{name}: ends inside {info.name!r}")
        yield info.name, offset, data[: info.size]
        offset += padded_size(info.size)
