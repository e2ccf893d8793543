"""Reads the bytes of a text file, which may be anything but too long."""

from pathlib import Path

from mmprep.clips.decode.bounds import MAX_TEXT_BYTES
from mmprep.clips.decode.sniff import check_pointer
from mmprep.failure import ClipError


def read_text_file(path: Path) -> bytes:
    """Bytes of the file, no more than one byte longer than a text may be.

    Raises:
        ClipError: The cause is `missing`, or `lfs-pointer` for the name of a file in its place.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TEXT_BYTES + 4)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ClipError("open", "missing", "the file is gone") from error
    except OSError as error:
        raise ClipError("open", "missing", f"cannot be read: {error.strerror}") from error
    check_pointer(content)
    return content
