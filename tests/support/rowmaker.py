"""Finished data sets of format 2, made of rows whose members are synthetic."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmprep.build.plan import Plan, listing_digest, tasks
from mmprep.build.publish import publish
from mmprep.build.shard import ShardResult, write_clip
from mmprep.clips.parts import frames, spectrogram
from mmprep.config import PartsConfig
from mmprep.failure import Failure
from mmprep.format import Payload, ShardWriter
from mmprep.manifest import Question, Row, check_rows
from mmprep.shards import Shards
from mmprep.storage.store import LocalStore

ANSWERS = ("no", "two", "yes")
TYPES = ("Audio Counting", "Visual Location")


def clips_with_questions(count: int = 6, *, alone: int = 1) -> list[Row]:
    """Rows of clips with one to three questions each, and of some with none behind them."""
    asked = [
        Row(
            key=f"clip{i}",
            label="",
            split=("train", "train", "val")[i % 3],
            sources={"video": f"{i}.mp4"},
            questions=tuple(
                Question(
                    id=f"{10 * i + n}",
                    text=f"How many? {i} {n}",
                    label=ANSWERS[(i + n) % 3],
                    group=TYPES[n % 2],
                )
                for n in range(1 + i % 3)
            ),
        )
        for i in range(count)
    ]
    return asked + [
        Row(
            key=f"alone{i}",
            label=ANSWERS[0],
            split="train",
            sources={"video": f"{i}.mp4"},
            texts={"question": "Is it alone?"},
        )
        for i in range(alone)
    ]


def make_rows(
    folder: Path,
    rows: Sequence[Row],
    *,
    parts: tuple[str, ...] = ("frames", "spectrogram", "question"),
    task: str = "classification",
    lacking: dict[str, str] | None = None,
    absent: Sequence[Failure] = (),
) -> Shards:
    """Writes a finished data set of ``rows`` into ``folder`` and opens it.

    Args:
        folder: Where to.
        rows: Clips.
        parts: Parts of every sample.
        task: Task of the data set.
        lacking: Key of a clip to the part that it lacks.
        absent: Clips that were not found.
    """
    check_rows(rows, "test")
    plan = replace(plan_of_rows(rows, parts=parts, task=task), absent=tuple(absent))
    store = LocalStore(folder)
    results = {}
    for each in plan.tasks:
        with store.create(f"{each.name}.tar") as file:
            writer = ShardWriter(file, parts)
            entries = []
            for row in each.rows:
                payload: dict[str, Any] = {**payload_of(row, parts)}
                if row.key in (lacking or {}):
                    payload[(lacking or {})[row.key]] = []
                entries.append(write_clip(writer, row, payload))
            writer.close()
        results[each.name] = ShardResult(
            task=each.name,
            shard=writer.info(f"{each.name}.tar", len(entries)),
            entries=tuple(entries),
            labels=tuple(row.label for row in each.rows),
            failures=(),
        )
    publish(plan, results, store)
    return Shards(store)


def plan_of_rows(rows: Sequence[Row], *, parts: tuple[str, ...], task: str) -> Plan:
    """Plan whose shards hold three clips."""
    return Plan(
        name="asked",
        title="Clips with questions",
        classes=tuple(sorted({label for row in rows for label in row.labels})),
        modalities=("audio", "visual"),
        licence="none",
        parts=PartsConfig(names=parts),
        raw="raw",
        seed=0,
        shard_size=3,
        tasks=tasks(rows, seed=0, shard_size=3),
        listed=listing_digest(rows, ()),
        made_by={"mmprep": "0"},
        task=task,
    )


def payload_of(row: Row, parts: Sequence[str]) -> Payload:
    """Members of a clip: a record, texts, and pictures and arrays that no other clip has."""
    seed = int.from_bytes(hashlib.sha256(row.key.encode()).digest()[:4])
    rng = np.random.default_rng(seed)
    record = {"key": row.key, "label": row.label, "split": row.split}
    makers: dict[str, Callable[[], list[bytes]]] = {
        "frames": lambda: [frames.jpeg(each, 90) for each in _pictures(rng)],
        "spectrogram": lambda: [spectrogram.npy(rng.random((257, 40), np.float32))],
        "speech": lambda: [spectrogram.npy(rng.random((5 + seed % 3, 8), np.float32))],
        "question": lambda: (
            [question.text.encode() for question in row.questions]
            or [row.texts["question"].encode()]
        ),
    }
    made = {part: makers[part]() for part in parts}
    return {"json": [json.dumps(record).encode()], **made}


def _pictures(rng: np.random.Generator) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (3, 32, 32, 3), np.uint8)
