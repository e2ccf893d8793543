"""Zip files, such as torch writes, with a SHA-256 of their content in their comment.

The comment is a place that the format leaves free: `torch.load` and `unzip` read a sealed file like
any other. torch alone would load damaged weights, since it compares no checksum.
"""

import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

_MARK: Final = b"sha256:"
_LENGTH: Final = len(_MARK) + 64
# The end of a zip file is the length of its comment, in two bytes, and the comment.
_FIELD: Final = 2
_CHUNK: Final = 1 << 20


class _Hashing:
    """A file to which torch writes forward; it keeps the digest, and the disk's refusal."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.refusal: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            written = self._file.write(data)
        except OSError as error:
            self.refusal = error
            raise
        self.digest.update(data)
        return written

    def flush(self) -> None:
        self._file.flush()


def write_sealed(file: BinaryIO, write: Callable[[BinaryIO], object]) -> None:
    """Lets ``write`` write a zip file without a comment, and adds its digest as one.

    Raises:
        OSError: The disk refused.
    """
    hashing = _Hashing(file)
    try:
        write(hashing)  # type: ignore[arg-type]  # As much of a file as torch.save needs.
    except RuntimeError:
        # torch's writer reports a full disk as an error of its own.
        if hashing.refusal is not None:
            raise hashing.refusal from None
        raise
    file.seek(-_FIELD, os.SEEK_END)
    file.write(_LENGTH.to_bytes(_FIELD, "little"))
    file.write(_MARK + hashing.digest.hexdigest().encode())


def is_whole(path: Path) -> bool:
    """Whether a zip file holds what was written to it.

    Files of earlier versions have no digest; of these, the checksums of their members are compared.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 2 * _LENGTH))
        tail = file.read()
        comment = tail[-_LENGTH:]
        if _MARK not in tail:
            return _members_are_whole(path)
        file.seek(0)
        digest = hashlib.sha256()
        left = size - _LENGTH - _FIELD
        while left > 0 and (chunk := file.read(min(left, _CHUNK))):
            digest.update(chunk)
            left -= len(chunk)
        length = file.read(_FIELD)
    # The digest is of the file as it was before the comment: with a comment of no bytes.
    digest.update(bytes(_FIELD))
    sealed = comment == _MARK + digest.hexdigest().encode()
    return sealed and length == _LENGTH.to_bytes(_FIELD, "little")


def _members_are_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    # Over damaged bytes, the reader also raises NotImplementedError, struct.error and others.
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise
        return False
