"""Shards: USTAR archives whose bytes depend on nothing but their samples.

A sample is consecutive members ``KEY.json``, ``KEY.frame00.jpg`` ..., ``KEY.spectrogram.npy``,
``KEY.flow00.jpg`` ... Questions about a clip lie with its other members: ``KEY.question00.txt`` ...
Time, owner and mode of a member are fixed, and the archive ends in two empty blocks without further
padding, so the same samples give the same bytes everywhere.
"""

import hashlib
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import IO, Any, Final, TypeAlias

import numpy as np
from crc32c import crc32c as _crc32c
from numpy.typing import NDArray

from mmprep.errors import DataError
from mmprep.format.answer import QUESTION, Answer
from mmprep.format.dataset import ShardInfo
from mmprep.format.parts import RECORD, part_named

BLOCK: Final = 512
_LARGEST: Final = 8 << 30  # the limit of eleven octal digits; any other size is no USTAR

# Part to the bytes of its members, `RECORD` among them.
Payload: TypeAlias = Mapping[str, Sequence[bytes]]


def crc32c(data: bytes | NDArray[np.uint8], before: int = 0) -> int:
    """CRC32C (Castagnoli) of ``data``, as the index keeps it for every member.

    Args:
        data: Bytes to check; for many of them, other threads run meanwhile.
        before: Checksum of the bytes that come before ``data``.
    """
    return _crc32c(data, before)  # type: ignore[arg-type]  # To mypy an array is no buffer.


def member_names(key: str, part: str, count: int, *, questions: bool = False) -> list[str]:
    """Names of the ``count`` members of one part of one clip, in their order in the archive.

    Args:
        key: Key of the clip.
        part: Name of the part.
        count: Number of its members.
        questions: Whether the clip has questions that are samples of their own: these are numbered,
            even where there is one.
    """
    return part_named(part).member_names(key, count, numbered=questions and part == QUESTION)


def padded_size(size: int) -> int:
    """Bytes that the data of a member take in the archive: ``size`` rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def header(name: str, size: int) -> bytes:
    """USTAR header of a regular file, 512 bytes; everything but name and size is fixed."""
    if len(name) > _NAME or not name.isascii() or not 0 <= size < _LARGEST:
        return _tarfile_header(name, size)
    # As `tarfile` makes it, which takes ten times as long: a data set has millions of members.
    given, octal = name.encode(), b"%011o" % size
    checksum = _BLANK_SUM + sum(given) + sum(octal) - _ZEROS_SUM
    return b"".join(
        (
            given.ljust(_NAME, b"\0"),
            _BLANK[_NAME:_SIZE],
            octal,
            _BLANK[_SIZE + len(octal) : _CHECKSUM],
            b"%06o" % checksum,
            _BLANK[_CHECKSUM + 6 :],
        )
    )


def _tarfile_header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)


# Places in a header: length of the name, then where size and checksum begin.
_NAME, _SIZE, _CHECKSUM = 100, 124, 148
_BLANK: Final = _tarfile_header("", 0)
# The checksum is the sum of all bytes, with blanks in its own place.
_BLANK_SUM: Final = int(_BLANK[_CHECKSUM : _CHECKSUM + 6], 8)
_ZEROS_SUM: Final = sum(b"%011o" % 0)


class ShardWriter:
    """Writes samples into an open file and remembers what the index needs.

    Args:
        file: Empty binary file, open for writing.
        parts: Names of the parts of every sample, in order, without the record.

    Attributes:
        size: Number of bytes written so far.
        digest: SHA-256 of the bytes written so far.
    """

    def __init__(self, file: IO[bytes], parts: Sequence[str]) -> None:
        self._file = file
        self._parts = (RECORD, *parts)
        self.size = 0
        self.digest = hashlib.sha256()

    def write(
        self,
        key: str,
        payload: Payload,
        *,
        target: tuple[float, ...] = (),
        group: str = "",
        answers: tuple[Answer, ...] = (),
    ) -> "SampleEntry":
        """Appends one clip and returns its entry for the index.

        Args:
            key: Key of the clip.
            payload: Bytes of the files of each part.
            target: Numbers to predict.
            group: Name of the group of the clip.
            answers: Answers of its questions, whose files are in the same order.

        Raises:
            ValueError: There is not one question for each answer.
        """
        start = self.size
        blocks: list[bytes] = []
        if answers and len(payload.get(QUESTION, answers)) != len(answers):
            raise ValueError(f"{key}: {len(payload[QUESTION])} questions, {len(answers)} answers")
        for part in self._parts:
            names = member_names(key, part, len(payload[part]), questions=bool(answers))
            for name, data in zip(names, payload[part], strict=True):
                blocks += [header(name, len(data)), data, bytes(padded_size(len(data)) - len(data))]
        self._put(b"".join(blocks))
        members = [data for part in self._parts for data in payload[part]]
        return SampleEntry(
            key=key,
            start=start,
            counts=tuple(len(payload[part]) for part in self._parts),
            sizes=tuple(map(len, members)),
            crcs=tuple(map(crc32c, members)),
            target=target,
            group=group,
            answers=answers,
        )

    def copy(self, data: bytes, entry: "SampleEntry") -> "SampleEntry":
        """Appends a sample that was cut out of another shard, with its headers and padding."""
        start = self.size
        self._put(data)
        return replace(entry, start=start)

    def info(self, name: str, samples: int) -> ShardInfo:
        """Description of the closed shard for `dataset.json`."""
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
    """Place of one clip in its shard, and its targets beside the label.

    Attributes:
        key: Key of the clip.
        start: Byte of the shard at which the sample's first header begins.
        counts: Number of members of each part, the record first.
        sizes: Number of bytes of each member.
        crcs: CRC32C of each member.
        target: Numbers to predict.
        group: Name of the group of the clip; empty for none.
        answers: Answers of its questions; the clip is a sample of its own where it has none.
    """

    key: str
    start: int
    counts: tuple[int, ...]
    sizes: tuple[int, ...]
    crcs: tuple[int, ...]
    target: tuple[float, ...] = ()
    group: str = ""
    answers: tuple[Answer, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values of the entry."""
        return {**vars(self), "answers": [asdict(answer) for answer in self.answers]}


def read_members(file: IO[bytes], name: str) -> Iterator[tuple[str, int, bytes]]:
    """Yields ``(member, byte offset of its data, data)`` from the start of a shard to its end.

    Reads forward only, so ``file`` may be a stream from a bucket.

    Args:
        file: Binary file at the start of the archive.
        name: Name of the shard, for error messages.

    Raises:
        DataError: A header is damaged, a member is cut short, or a member is no plain file with a
            plain name (a link, a folder or a path); the message names the member.
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
