"""Texts: UTF-8 as it is, checked and not changed. Tokens are a view of training, not of the data.

Letters of any script, emoji, marks that turn the direction and both kinds of line end stay byte for
byte. A byte-order mark at the head of a file names its encoding and is no letter, so it is dropped.
"""

import codecs
from typing import Final

from mmprep.clips.decode.bounds import MAX_TEXT_BYTES
from mmprep.config import TextConfig
from mmprep.failure import ClipError

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def from_file(content: bytes, config: TextConfig) -> bytes:
    """Checks the bytes of a text file and drops its byte-order mark.

    A file that is not UTF-8 is taken as of ``config.fallback``, where there is one.

    Raises:
        ClipError: The cause is `not-utf-8`, `nul-byte`, `too-large` or `empty-text`.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            raise ClipError(
                "parts", "not-utf-8", f"{encoding} by its byte-order mark; save it as UTF-8"
            )
    text = content.removeprefix(codecs.BOM_UTF8)
    _check_size(text)
    try:
        return encode(text.decode(), config)
    except UnicodeDecodeError as error:
        if config.fallback:
            return encode(text.decode(config.fallback), config)
        message = (
            f"byte 0x{text[error.start]:02x} at {error.start} is not UTF-8, perhaps Latin-1 or "
            "Windows-1252: save it as UTF-8, as by `iconv -f LATIN1 -t UTF-8`"
        )
        raise ClipError("parts", "not-utf-8", message) from error


def encode(text: str, config: TextConfig) -> bytes:
    """UTF-8 bytes of ``text``.

    Raises:
        ClipError: The cause is `not-utf-8` for half of a surrogate pair, `nul-byte`, `too-large` or
            `empty-text`.
    """
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        message = f"U+{code:04X} at {error.start} is half of a surrogate pair, which is no letter"
        raise ClipError("parts", "not-utf-8", message) from error
    if "\0" in text:
        message = f"a NUL at {text.index(chr(0))}, where many programs would end the text"
        raise ClipError("parts", "nul-byte", message)
    _check_size(content)
    if not config.empty and not text.strip():
        message = "a text without letters; --set text.empty=true takes it as it is"
        raise ClipError("parts", "empty-text", message)
    return content


def _check_size(content: bytes) -> None:
    if len(content) > MAX_TEXT_BYTES:
        message = f"more than {MAX_TEXT_BYTES:,} bytes, which is no text of one clip"
        raise ClipError("parts", "too-large", message)
