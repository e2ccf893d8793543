"""Questions about videos, as MUSIC-AVQA lists them: JSON with templates, an answer and a type.

``type`` and ``templ_values`` are strings that hold JSON themselves, and the key of the answer is
``anser``. Each ``<Object>`` or ``<LR>`` of a question stands for the next of ``templ_values``. All
questions of a split about one video share a clip; a video whose questions are in two splits is a
clip in each, as the official splits divide questions and not videos.
"""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mmprep.datasets.lists.listed import Lists, files
from mmprep.datasets.spec import Spec
from mmprep.errors import DataError
from mmprep.manifest import SPLITS, Listed, Question, safe_key

log = logging.getLogger(__name__)

_PLACE: Final = re.compile(r"<[^<>]+>")


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Reads the questions of each split, without those that the authors marked as deleted.

    Raises:
        ConfigError: A list is missing.
        DataError: A malformed entry, or an answer that is no class.
    """
    return [
        clip
        for split in SPLITS
        for clip in _clips(lists.need(files(spec, split), spec), split, spec)
    ]


def _clips(path: Path, split: str, spec: Spec) -> Iterator[Listed]:
    by_video: dict[str, dict[str, Question]] = {}
    deleted = 0
    for nth, entry in enumerate(_entries(path), start=1):
        try:
            if entry["question_deleted"]:
                deleted += 1
                continue
            video, question = str(entry["video_id"]), _question(entry)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}, question {nth}: {error!r}: {entry!r}") from error
        if question.label not in spec.classes:
            raise DataError(
                f"{path}, question {nth}: {question.label!r} is none of the "
                f"{len(spec.classes)} answers of {spec.name}"
            )
        questions = by_video.setdefault(video, {})
        name = _free_name(question.id, questions)
        questions[name] = Question(
            id=name, text=question.text, label=question.label, group=question.group
        )
    if deleted:
        log.info("%s: %d questions of %s are marked as deleted", spec.name, deleted, path.name)
    for video, questions in by_video.items():
        yield Listed(
            key=safe_key(f"{split}-{video}"),
            label="",
            split=split,
            names={"video": (video,)},
            extra={"video_id": video},
            questions=tuple(questions.values()),
        )


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: {error}; get the list again") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}: expected a JSON list of questions; get the list again")
    return entries


def _question(entry: dict[str, Any]) -> Question:
    values = iter(json.loads(entry["templ_values"]))
    text = _PLACE.sub(lambda place: str(next(values, place[0])), entry["question_content"])
    if _PLACE.search(text) or next(values, None) is not None:
        raise ValueError("as many templ_values are needed as the question has places")
    return Question(
        id=str(entry["question_id"]),
        text=text.strip(),
        label=entry["anser"],
        group=" ".join(json.loads(entry["type"])),
    )


def _free_name(name: str, taken: dict[str, Question]) -> str:
    """``name``, or with ``_2`` and on: the list of synthetic videos uses ten ids twice."""
    number = 1
    free = name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
