"""Recognises files that are no media by their first bytes, so that the report can name them."""

from pathlib import Path
from typing import Final

from mmprep.failure import ClipError

_LFS: Final = b"version https://git-lfs.github.com/spec/"
_PAGE: Final = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")
# HLS, FFmpeg's own list of files, DASH, and SDP.
_PLAYLIST: Final = (b"#EXTM3U", b"ffconcat version", b"<MPD", b"v=0\n", b"v=0\r\n")
_HEAD: Final = 512


def sniff(path: Path) -> None:
    """Returns if the file at ``path`` may be media.

    Raises:
        ClipError: The cause is `missing`, `empty`, `lfs-pointer`, `playlist`, `html-page`, or
            `truncated` for an MP4 whose index was cut off.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ClipError("open", "missing", "the file is gone") from error
    except OSError as error:
        raise ClipError("open", "missing", f"cannot be read: {error.strerror}") from error
    if not size:
        raise ClipError("open", "empty", "the file has no bytes")
    check_pointer(head)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(_PLAYLIST) or b"<MPD" in text:
        raise ClipError("open", "playlist", "a list of other files, not media")
    if text.lower().startswith(_PAGE):
        raise ClipError("open", "html-page", "a web page, not media; download the clip again")
    if head[4:8] == b"ftyp" and _lacks_index(path, size):
        raise ClipError("open", "truncated", "an MP4 that ends before its index (moov)")


def check_pointer(head: bytes) -> None:
    """Raises `ClipError` (`lfs-pointer`) if Git-LFS put a pointer in the place of a file."""
    if head.startswith(_LFS):
        raise ClipError(
            "open", "lfs-pointer", "a Git-LFS pointer, not the media; run `git lfs pull`"
        )


def _lacks_index(path: Path, size: int) -> bool:
    """Whether the file ends before ``moov``, the box of an MP4 that indexes its packets."""
    with path.open("rb") as file:
        at = 0
        while at + 8 <= size:
            file.seek(at)
            length = int.from_bytes(file.read(4))
            kind = file.read(4)
            if kind in (b"moov", b"moof"):
                return False
            # Length 1: the length follows in 64 bits. Length 0: the box reaches to the file's end.
            if length == 1:
                length = int.from_bytes(file.read(8))
            if length < 8:
                return length == 0
            at += length
    return True
