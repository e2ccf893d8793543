"""Texts and arrays to rows: tokenizers, padding, and what is refused."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmtrain.data import View
from mmtrain.data.batches.decode import Decoder, PartSource
from mmtrain.data.batches.sequence import sequence_decoder
from mmtrain.data.batches.text import (
    ByteTokenizer,
    FileTokenizer,
    make_tokenizer,
    text_decoder,
    vocabulary_of,
)
from mmtrain.errors import ConfigError, DataError

WORDS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "cow", "says", "moo")


def source(part: str, view: View, *examples: bytes) -> PartSource:
    return PartSource(
        part=part,
        place="here",
        view=view,
        checked=True,
        parameters={},
        examples=lambda: (np.frombuffer(each, np.uint8) for each in examples),
    )


def decoded(decoder: Decoder, data: bytes) -> NDArray[Any]:
    row = np.full(decoder.shape, 9, "f4" if decoder.part == "speech" else "i8")
    decoder.decode(np.frombuffer(data, np.uint8), [], row, 0)
    return row


def saved(values: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def write_tokenizer(path: Path) -> Path:
    """A tokenizer of words that pads to 128 and puts [CLS] and [SEP] around a text."""
    tokenizers = pytest.importorskip("tokenizers", reason="the extra transformers is not installed")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    made.enable_padding(length=128)
    made.enable_truncation(2)
    made.save(str(path))
    return path


@pytest.mark.parametrize("text", ["", "moo", "שלום", "👩‍👩‍👧 zero\0width", "a" * 40])
def test_bytes_come_back_from_their_numbers(text: str) -> None:
    row = decoded(text_decoder(source("text", View(length=30))), text.encode())

    assert bytes(row[row > 0].astype(np.uint8) - 1) == text.encode()[:30]
    assert not row[len(text.encode()) :].any()


def test_byte_255_has_a_number_of_its_own() -> None:
    assert vocabulary_of("bytes") == 257
    assert max(ByteTokenizer(9).tokens("\U0010ffff")) == 0xF4  # UTF-8 has no larger one.


def test_tokens_of_a_file_are_one_more_than_its_numbers(tmp_path: Path) -> None:
    path = write_tokenizer(tmp_path / "tokenizer.json")
    decoder = text_decoder(source("text", View(tokenizer=str(path), length=6)))

    assert decoded(decoder, b"a cow says").tolist() == [2, 5, 6, 7, 3, 0]
    assert decoded(decoder, b"a goat says moo moo moo").tolist() == [2, 5, 4, 7, 8, 3]
    assert decoded(decoder, b"").tolist() == [2, 3, 0, 0, 0, 0]
    assert vocabulary_of(str(path)) == len(WORDS) + 1


def test_two_views_of_one_tokenizer_cut_each_at_its_own_length(tmp_path: Path) -> None:
    path = write_tokenizer(tmp_path / "tokenizer.json")
    short, long = (make_tokenizer(str(path), length) for length in (3, 7))

    assert len(short.tokens("a cow says moo")) == 3
    assert len(long.tokens("a cow says moo")) == 6


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="the extra transformers is not installed")
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"vocabulary": []}))

    with pytest.raises(ConfigError, match=r"cannot read the tokenizer .*none\.json: No such file"):
        make_tokenizer(str(tmp_path / "none.json"), 8)
    with pytest.raises(ConfigError, match=r"other\.json is no JSON file of the library"):
        make_tokenizer(str(other), 8)
    with pytest.raises(ConfigError, match=r"view\.length is 2, and .* puts 2 tokens around"):
        FileTokenizer(write_tokenizer(tmp_path / "tokenizer.json"), 2)


def test_bytes_that_are_no_text_are_damage() -> None:
    decoder = text_decoder(source("text", View(length=8)))
    with pytest.raises(DataError, match=r"is no UTF-8 .*at byte 1"):
        decoded(decoder, b"a\xff")
    with pytest.raises(DataError, match="has no text"):
        decoder.members(0, [])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2"])
def test_arrays_of_numbers_become_steps_and_a_mask(dtype: str) -> None:
    values = np.arange(6).reshape(2, 3).astype(dtype)
    decoder = sequence_decoder(source("speech", View(steps=4), b"no array", saved(values)))

    assert decoded(decoder, saved(values)).tolist() == [
        [0, 1, 2, 1],
        [3, 4, 5, 1],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]


def test_numbers_that_are_not_finite_become_0() -> None:
    values = np.array([[np.nan, np.inf], [-np.inf, 1e300]])
    decoder = sequence_decoder(source("speech", View(steps=2), saved(values)))

    assert decoded(decoder, saved(values)).tolist() == [[0, 0, 1], [0, 0, 1]]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((2, 4), "f4"), r"has shape \(2, 4\) where the others have \(steps, 3\)"),
        (np.zeros(3, "f4"), r"has shape \(3,\)"),
        (np.zeros((2, 3), "c8"), "holds complex64, not real numbers"),
    ],
)
def test_other_arrays_are_damage(values: NDArray[Any], reason: str) -> None:
    decoder = sequence_decoder(source("speech", View(steps=2), saved(np.zeros((1, 3), "f4"))))
    with pytest.raises(DataError, match=reason):
        decoded(decoder, saved(values))


def test_an_array_that_was_cut_is_damage() -> None:
    whole = saved(np.zeros((2, 3), "f4"))
    decoder = sequence_decoder(source("speech", View(steps=2), whole))

    with pytest.raises(DataError, match="has not the bytes that its shape"):
        decoded(decoder, whole[:-4])
    with pytest.raises(DataError, match="no speech of steps by features"):
        sequence_decoder(source("speech", View(), whole[:-4]))
