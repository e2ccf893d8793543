"""Members of WebDataset tars of other tools: samples by the name in front of the first dot."""

import hashlib
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Final

from mmprep.errors import DataError
from mmprep.format import crc32c

# Part to the pattern of its members' names behind ``KEY.``; mmtrain's table of modalities has the
# same ones, with which it streams such tars without an index.
PATTERNS: Final[Mapping[str, str]] = {
    "frames": r"(frame\d*\.)?jpe?g",
    "spectrogram": r"(?!(speech|face|words)\.npy)(.*\.)?npy",
    "flow": r"flow\d*\.jpe?g",
    "difference": r"difference\d*\.jpe?g",
    "depth": r"depth\d*\.jpe?g",
}
_LARGEST_LABEL: Final = 1 << 20


@dataclass(frozen=True)
class ForeignMember:
    """A member of a part: its place, size and CRC32C."""

    begin: int
    size: int
    crc: int


@dataclass
class ForeignSample:
    """A sample as a tar has it.

    Attributes:
        name: Name in front of the first dot, with its folders.
        parts: Part to its members, in the order of the tar.
        label: Bytes of the member that holds the label; None if there is none.
    """

    name: str
    parts: dict[str, list[ForeignMember]] = field(default_factory=dict)
    label: bytes | None = None


class Hashing:
    """A file of which every byte is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size, self.tail = 0, b""

    def read(self, size: int = -1) -> bytes:
        """Reads on."""
        data = self._file.read(size)
        self.digest.update(data)
        self.size += len(data)
        self.tail = data[-512:] or self.tail
        return data


def read_samples(file: Hashing, place: str, label: str) -> Iterator[ForeignSample]:
    """Yields the samples of a tar, reading it once from start to end.

    Args:
        file: The tar, at its start.
        place: Name of the tar, for messages.
        label: Name behind ``KEY.`` of the member with the label; empty for none.

    Raises:
        DataError: The tar is damaged, a part's members are not side by side, or a member is no
            plain file.
    """
    current: ForeignSample | None = None
    try:
        with tarfile.open(fileobj=file, mode="r|") as archive:  # type: ignore[call-overload]
            for info in archive:
                if info.isdir():
                    continue
                if not info.isreg() or info.issparse():
                    raise DataError(f"{place}: {info.name!r} is no plain file; refused")
                name, suffix = split_name(info.name)
                if current is None or name != current.name:
                    if current is not None:
                        yield current
                    current = ForeignSample(name)
                _add(current, suffix, archive, info, label, place)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise DataError(f"{place}: damaged ({error})") from error
    if current is not None:
        yield current
    while file.read(1 << 20):
        pass
    # An archive ends in empty blocks; without, it may have been cut between two members.
    if not file.tail or any(file.tail):
        raise DataError(f"{place}: damaged (it ends early)")


def split_name(member: str) -> tuple[str, str]:
    """Name of the sample and suffix of a member: all up to the first dot of the file's name."""
    folder, slash, name = member.rpartition("/")
    stem, _, suffix = name.partition(".")
    return f"{folder}{slash}{stem}", suffix.lower()


def _add(
    sample: ForeignSample,
    suffix: str,
    archive: tarfile.TarFile,
    info: tarfile.TarInfo,
    label: str,
    place: str,
) -> None:
    part = next((p for p, pattern in PATTERNS.items() if re.fullmatch(pattern, suffix)), None)
    if part is None and suffix != label:
        return
    stream = archive.extractfile(info)
    data = stream.read() if stream else b""
    if len(data) != info.size:
        raise DataError(f"{place}: ends inside {info.name!r}")
    if suffix == label:
        sample.label = data[:_LARGEST_LABEL]
    if part is None:
        return
    if part in sample.parts and part != [*sample.parts][-1]:
        raise DataError(
            f"{place}: {info.name!r} lies behind members of another part; the members of a part "
            "have to be side by side, as sorted names are"
        )
    member = ForeignMember(info.offset_data, info.size, crc32c(data))
    sample.parts.setdefault(part, []).append(member)
