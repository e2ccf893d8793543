"""Texts stay byte for byte, or are refused by name."""

import pytest

from mmprep.clips.decode.bounds import MAX_TEXT_BYTES
from mmprep.clips.parts.text import encode, from_file
from mmprep.config import TextConfig
from mmprep.errors import ConfigError
from mmprep.failure import CAUSES, ClipError

PLAIN = TextConfig()


def cause(content: bytes | str, config: TextConfig = PLAIN) -> tuple[str, str]:
    with pytest.raises(ClipError) as caught:
        from_file(content, config) if isinstance(content, bytes) else encode(content, config)
    assert caught.value.cause in CAUSES
    return caught.value.cause, caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "ends in a line\r\n",
        "\r\n\ttabs and lines\n\n",
        "été — “quotes” …",
        "日本語の文",
        "مرحبا \u202b\u05e9\u05dc\u05d5\u05dd\u202c",
        "👩‍👩‍👧 \U0001f600 e\u0301",
        "\u200bzero width",
        "a\x01\x1b[2Jb",
        "\U0010ffff\ufffe",
    ],
)
def test_texts_stay_byte_for_byte(text: str) -> None:
    assert from_file(text.encode(), PLAIN) == text.encode()
    assert encode(text, PLAIN) == text.encode()


def test_the_mark_at_the_head_of_a_file_is_no_letter() -> None:
    assert from_file("\ufeffword \ufeff".encode(), PLAIN) == "word \ufeff".encode()
    # In a list the encoding is the list's own, and so the letter is the text's.
    assert encode("\ufeffword", PLAIN) == "\ufeffword".encode()


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_other_encodings_are_refused_with_the_fix(encoding: str) -> None:
    name, message = cause("café noir".encode(encoding))
    assert name == "not-utf-8"
    assert "byte 0xe9 at 3" in message
    assert "iconv -f LATIN1 -t UTF-8" in message


def test_a_fallback_takes_what_is_not_utf_8_and_leaves_the_rest() -> None:
    latin = TextConfig(fallback="latin-1")
    assert from_file("café\r\n".encode("latin-1"), latin) == "café\r\n".encode()
    assert from_file("café 😀".encode(), latin) == "café 😀".encode()
    assert from_file("\ufeffcafé".encode(), latin) == "café".encode()
    with pytest.raises(ClipError, match="NUL"):
        from_file(b"\xe9\0", latin)
    with pytest.raises(ConfigError, match="fallback"):
        TextConfig(fallback="cp1252")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_wide_encodings_are_refused_by_name(encoding: str) -> None:
    mark = b"" if encoding in ("utf-16", "utf-32") else "\ufeff".encode(encoding)
    name, message = cause(mark + "text".encode(encoding))
    assert name == "not-utf-8"
    assert encoding[:6].upper() in message


def test_half_of_a_surrogate_pair_is_refused() -> None:
    name, message = cause("ab\ud83d")
    assert (name, "U+D83D at 2" in message) == ("not-utf-8", True)
    # The same in the bytes of a file, as some programs write it.
    assert cause("ab\ud83d".encode("utf-8", "surrogatepass"))[0] == "not-utf-8"


def test_a_nul_is_refused() -> None:
    assert cause(b"a\0b")[0] == "nul-byte"
    assert cause("a\0b")[0] == "nul-byte"


@pytest.mark.parametrize("text", ["", " ", "\r\n\t", "\u3000"])
def test_a_text_without_letters_needs_leave(text: str) -> None:
    assert cause(text)[0] == "empty-text"
    assert cause(text.encode())[0] == "empty-text"
    assert encode(text, TextConfig(empty=True)) == text.encode()
    assert from_file(text.encode(), TextConfig(empty=True)) == text.encode()


def test_a_text_of_a_megabyte_is_the_longest() -> None:
    assert from_file(b"a" * MAX_TEXT_BYTES, PLAIN) == b"a" * MAX_TEXT_BYTES
    assert cause(b"a" * (MAX_TEXT_BYTES + 1))[0] == "too-large"
    assert cause("a" * (MAX_TEXT_BYTES + 1))[0] == "too-large"
