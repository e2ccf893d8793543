"""The bytes of both formats are those of docs/format.md, digit for digit."""

import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from mmprep.format import Dataset, ShardInfo, ShardWriter, SplitInfo, write_index
from mmprep.format.answer import Answer

PAGE = Path(__file__).parents[3] / "docs" / "format.md"
PARTS = ("frames", "spectrogram", "question")
CLASSES = ("no", "yes")
ANSWERS = (
    Answer(id="q1", label="yes", group="sound"),
    Answer(id="q2", label="no", group="class"),
)


def files(number: int) -> Mapping[str, bytes]:
    """Shard, index and description of a data set of two clips, of the format ``number``."""
    parts = PARTS[: number + 1]
    file = io.BytesIO()
    writer = ShardWriter(file, parts)
    asked = number == 2
    clips = []
    for key, frames in (("a", 2), ("b-2", 1)):
        payload = {
            "json": [b'{"key": "%s"}' % key.encode()],
            "frames": [bytes(range(7)) * 100] * frames,
            "spectrogram": [b"\x93NUMPY" + b"\0" * 600],
        }
        if asked:
            payload["question"] = [b"Is it loud?", b"Is it a dog?"]
        answers = ANSWERS if asked else ()
        clips.append(writer.write(key, payload, answers=answers))
    writer.close()
    shard = file.getvalue()
    index = write_index(
        [(clip, label, 0, 0) for label, clip in enumerate(clips)],
        classes=CLASSES,
        splits=("train",),
        shards=("train/000000.tar",),
        parts=("json", *parts),
    )
    samples = 4 if asked else 2
    dataset = Dataset(
        name="golden",
        title="Two clips",
        classes=CLASSES,
        modalities=("audio", "visual"),
        parts={"names": [*parts], "clip_s": 1.0},
        splits={"train": SplitInfo(samples=samples, classes=dict.fromkeys(CLASSES, samples // 2))},
        shards=(
            ShardInfo(
                name="train/000000.tar",
                samples=2,
                bytes=len(shard),
                sha256=hashlib.sha256(shard).hexdigest(),
            ),
        ),
        failures={},
        files={"index.h5": hashlib.sha256(index).hexdigest()},
        made_by={"mmprep": "0"},
        task="answers" if asked else "classification",
        additions=("group", "questions") if asked else (),
    )
    assert dataset.format == number
    return {"shard": shard, "index.h5": index, "dataset.json": dataset.to_json().encode()}


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("name", ["shard", "index.h5", "dataset.json"])
def test_bytes_are_those_of_the_specification(number: int, name: str) -> None:
    row = re.search(
        rf"^\| {re.escape(name)} \| `(\w+)` \| `(\w+)` \|$", PAGE.read_text("utf-8"), re.M
    )
    assert row is not None

    assert hashlib.sha256(files(number)[name]).hexdigest() == row[number]
