"""Texts: from the UTF-8 of a member to the numbers of its tokens, padded with 0."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.data.batches.decode import Decoder, PartSource
from mmtrain.data.batches.view import BYTES, Draws
from mmtrain.data.reading.local import Bytes
from mmtrain.errors import ConfigError, DataError

# Any length, where only the vocabulary is asked for.
_LONGEST: Final = 1 << 20


class Tokenizer(Protocol):
    """Turns texts into numbers of tokens, counted from 0.

    Attributes:
        vocabulary: Number above that of every token.
    """

    vocabulary: int

    def tokens(self, text: str) -> Sequence[int]:
        """Returns the tokens of ``text``, no more than it was made for."""


class ByteTokenizer:
    """Bytes of UTF-8 as tokens: any language, no file.

    Args:
        length: Largest number of tokens of a text.
    """

    vocabulary = 256

    def __init__(self, length: int) -> None:
        self._length = length

    def tokens(self, text: str) -> Sequence[int]:
        """Returns the first bytes of ``text``, which may end within a character."""
        return text.encode()[: self._length]


class FileTokenizer:
    """A tokenizer that the library `tokenizers` has written.

    Its own rules of padding and length are left out; tokens that it puts around a text, such as
    ``[CLS]`` and ``[SEP]``, are there in a text that is cut too.

    Args:
        path: JSON file of the tokenizer.
        length: Largest number of tokens of a text.

    Raises:
        ConfigError: The library is not installed, the file is no tokenizer, or ``length`` leaves no
            room beside the tokens that it puts around a text.
    """

    def __init__(self, path: Path, length: int) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ConfigError(
                f"view.tokenizer={path} needs the library tokenizers; install the extra: "
                "pip install mmprep[transformers]"
            ) from error
        try:
            self._inner = Tokenizer.from_str(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read the tokenizer {path}: {error.strerror}") from error
        except Exception as error:  # The library raises nothing narrower.
            raise ConfigError(
                f"{path} is no JSON file of the library tokenizers: {error}"
            ) from error
        around = self._inner.num_special_tokens_to_add(False)
        if length <= around:
            raise ConfigError(
                f"view.length is {length}, and {path} puts {around} tokens around a text; raise it"
            )
        self._inner.no_padding()
        self._inner.enable_truncation(length)
        self.vocabulary: int = 1 + max(self._inner.get_vocab().values(), default=0)

    def tokens(self, text: str) -> Sequence[int]:
        """Returns the tokens of ``text``."""
        ids: list[int] = self._inner.encode(text).ids
        return ids


def make_tokenizer(name: str, length: int) -> Tokenizer:
    """Makes the tokenizer that ``view.tokenizer`` names.

    Args:
        name: ``bytes`` or a path.
        length: Largest number of tokens of a text.

    Raises:
        ConfigError: The file is no tokenizer.
    """
    return ByteTokenizer(length) if name == BYTES else FileTokenizer(Path(name), length)


def vocabulary_of(name: str) -> int:
    """Number of tokens of the tokenizer that ``view.tokenizer`` names, padding included.

    Raises:
        ConfigError: The file is no tokenizer.
    """
    return 1 + make_tokenizer(name, _LONGEST).vocabulary


class TextDecoder:
    """Texts: (B, L) numbers, token t as t + 1; 0 behind the end of a text.

    Args:
        part: Part of the shards.
        tokenizer: Tokenizer, which gives no more than ``length`` tokens.
        length: Number of tokens of a row.
    """

    dtype = torch.int64
    blank = 0

    def __init__(self, part: str, tokenizer: Tokenizer, length: int) -> None:
        self.part, self._tokenizer = part, tokenizer
        self.shape: tuple[int, ...] = (length,)

    def members(self, count: int, draws: Draws) -> list[int]:
        """Chooses the first member.

        Raises:
            DataError: There is none.
        """
        if not count:
            raise DataError(f"has no {self.part}")
        return [0]

    def destination(self, row: NDArray[Any], size: int) -> Bytes | None:
        """Returns None: a text cannot be read into a row."""
        return None

    def decode(self, data: Bytes, draws: Draws, row: NDArray[Any], place: int) -> None:
        """Writes the tokens of a text, then padding."""
        try:
            text = data.tobytes().decode()
        except UnicodeDecodeError as error:
            raise DataError(f"is no UTF-8 ({error.reason} at byte {error.start})") from error
        tokens = self._tokenizer.tokens(text)
        row[: len(tokens)] = np.array([*tokens], np.int64) + 1
        row[len(tokens) :] = 0

    def tensor(self, rows: Tensor) -> Tensor:
        """Returns the rows unchanged."""
        return rows


def text_decoder(source: PartSource) -> Decoder:
    """Makes the decoder of texts, with the tokenizer of the view."""
    view = source.view
    return TextDecoder(source.part, make_tokenizer(view.tokenizer, view.length), view.length)
