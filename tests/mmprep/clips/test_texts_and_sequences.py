"""Samples with texts, sequences and questions, and samples that lack a part."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmprep.clips.outcome import Sample
from mmprep.clips.sample import SampleMaker
from mmprep.config import FrameConfig, PartsConfig, SequenceConfig, TextConfig
from mmprep.failure import CAUSES, ClipError
from mmprep.manifest import Question, Row
from tests.support.media import picture, write_clip

FRAMES = FrameConfig(short_side=48)


def make(raw: Path, row: Row, *names: str, **settings: Any) -> tuple[Sample, dict[str, Any]]:
    sample = SampleMaker(raw, PartsConfig(names=names, frames=FRAMES, **settings)).make(row)
    assert list(sample.payload) == ["json", *names]
    return sample, json.loads(sample.payload["json"][0])


def row_of(sources: dict[str, str], **fields: Any) -> Row:
    return Row(**{"key": "a", "label": "x", "split": "train", "sources": sources, **fields})


def refusal(raw: Path, row: Row, *names: str) -> ClipError:
    with pytest.raises(ClipError) as caught:
        make(raw, row, *names)
    assert caught.value.cause in CAUSES
    return caught.value


def test_texts_come_from_files_or_from_the_list(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffDas Wetter\r\nheute 😀".encode())
    row = row_of({"text": "a.txt"}, texts={"target": "Wetter", "question": "¿Qué?"})
    sample, record = make(tmp_path, row, "text", "target", "question")
    assert sample.payload["text"] == ["Das Wetter\r\nheute 😀".encode()]
    assert sample.payload["target"] == [b"Wetter"]
    assert sample.payload["question"] == ["¿Qué?".encode()]
    assert record["checks"] == {}
    assert "missing" not in record


def test_a_text_that_is_empty_needs_leave(tmp_path: Path) -> None:
    row = row_of({}, texts={"text": ""})
    assert refusal(tmp_path, row, "text").cause == "empty-text"
    sample, _ = make(tmp_path, row, "text", text=TextConfig(empty=True))
    assert sample.payload["text"] == [b""]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "missing"),
        ("été".encode("latin-1"), "not-utf-8"),
        (b"", "empty-text"),
        (b"a\0", "nul-byte"),
        (b"version https://git-lfs.github.com/spec/v1\noid x", "lfs-pointer"),
    ],
)
def test_text_files_that_are_no_texts(tmp_path: Path, content: bytes | None, cause: str) -> None:
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    assert refusal(tmp_path, row_of({"text": "a.txt"}), "text").cause == cause


def test_a_tweet_may_look_like_a_page(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"<html> is not how I tweet")
    sample, _ = make(tmp_path, row_of({"text": "a.txt"}), "text")
    assert sample.payload["text"] == [b"<html> is not how I tweet"]


def test_sequences_and_their_record(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", speech=[[1, -np.inf], [np.nan, 2]], face=np.ones((3, 5), "f8"))
    row = row_of({"speech": "a.npz#speech", "face": "a.npz#face"})
    sample, record = make(tmp_path, row, "speech", "face", sequence=SequenceConfig(dtype="float16"))
    speech, face = (np.load(io.BytesIO(sample.payload[name][0])) for name in ("speech", "face"))
    assert (speech.tolist(), speech.dtype) == ([[1, 0], [0, 2]], np.float16)
    assert face.shape == (3, 5)
    assert record["checks"] == {"nonfinite": 2, "clipped": 0}
    assert record["sources"] == {"speech": "a.npz#speech", "face": "a.npz#face"}


def test_a_sequence_that_cannot_be_stored_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4)))
    error = refusal(tmp_path, row_of({"words": "a.npy"}), "words")
    assert (error.cause, error.message) == (
        "not-array",
        "a.npy: the shape (2, 3, 4); a sequence has two axes, steps and features",
    )


def test_a_picture_with_a_text_needs_no_video(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), picture(0))
    row = row_of({"image": "a.png"}, texts={"text": "caption"})
    sample, record = make(tmp_path, row, "frames", "text")
    assert len(sample.payload["frames"]) == 1
    assert record["times_s"] == [0.0]
    assert "duration_s" not in record


def test_targets_groups_and_questions_are_in_the_record(tmp_path: Path) -> None:
    row = row_of({}, texts={"text": "so good"}, target=(1.6,), group="g")
    _, record = make(tmp_path, row, "text")
    assert (record["target"], record["group"]) == ([1.6], "g")
    questions = (Question(id="1", text="How many?", label="two", group="Counting"),)
    questions += (Question(id="2", text="Who?", label="one"),)
    row = row_of({}, label="", questions=questions)
    sample, record = make(tmp_path, row, "question")
    assert sample.payload["question"] == [b"How many?", b"Who?"]
    assert record["questions"] == [
        {"id": "1", "text": "How many?", "label": "two", "group": "Counting"},
        {"id": "2", "text": "Who?", "label": "one", "group": ""},
    ]


def test_a_part_that_may_be_lacking_has_no_members(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4")
    row = row_of({"video": "a.mp4"}, lacking=("text", "speech"))
    sample, record = make(tmp_path, row, "frames", "text", "speech")
    assert (sample.payload["text"], sample.payload["speech"]) == ([], [])
    assert len(sample.payload["frames"]) == 2
    assert record["missing"] == ["text", "speech"]


def test_pictures_may_be_lacking_beside_sound(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.wav", video=False, audio_codec="pcm_s16le")
    row = row_of({"audio": "a.wav"}, lacking=("video", "depth"))
    sample, record = make(tmp_path, row, "frames", "spectrogram", "depth", clip_s=2.0)
    assert (sample.payload["frames"], sample.payload["depth"]) == ([], [])
    assert len(sample.payload["spectrogram"]) == 1
    assert record["missing"] == ["frames", "depth"]


@pytest.mark.parametrize("name", ["text", "speech"])
def test_a_part_that_may_not_be_lacking_is_named(tmp_path: Path, name: str) -> None:
    error = refusal(tmp_path, row_of({"video": "a.mp4"}), name)
    assert error.cause == "no-source"
    assert f"the row names no {name}" in error.message


def test_a_sample_of_nothing_is_refused(tmp_path: Path) -> None:
    row = row_of({"video": "a.mp4"}, lacking=("text",))
    assert refusal(tmp_path, row, "text").cause == "no-source"
