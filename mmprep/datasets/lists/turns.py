"""Turns of recorded dialogues, as IEMOCAP lists them: times, name, emotion, and a transcript.

``dialog/EmoEvaluation/<dialogue>.txt`` has a line for each turn, and further lines that are not
read; ``dialog/transcriptions/<dialogue>.txt`` has the words. A turn is cut out of the dialogue's
video and sound by its times.

Splits come from lists of turns (those of MLA), where turns in neither list are ``val``, or from
``lists.sessions``, which assigns whole sessions.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mmprep.datasets.lists.listed import Lists, files, option
from mmprep.datasets.lists.text import decoded, line_error, lines
from mmprep.datasets.spec import Spec
from mmprep.errors import ConfigError
from mmprep.manifest import Listed

log = logging.getLogger(__name__)

# Ses01F_impro01_M000: session 1, where she wears the markers; improvisation 1; his first turn.
_NAME: Final = re.compile(r"(?P<dialogue>(?P<session>Ses\d\d)[FM]_\w+)_(?P<speaker>[FM])\d+")
_TURN: Final = re.compile(
    r"\[(?P<start>[\d.]+) - (?P<end>[\d.]+)\]\s+(?P<name>\w+)\s+(?P<emotion>\w+)\s.*"
)
_WORDS: Final = re.compile(r"(?P<name>\w+) \[[\d.]+-[\d.]+\]:(?P<words>.*)")
# Between the fields of MLA's lists, whose transcripts have commas.
_MLA_SIGN: Final = "[split|sign]"


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """A line of EmoEvaluation, with the words of the turn, None where no transcript has them."""

    name: str
    label: str
    emotion: str
    start: float
    end: float
    words: str | None


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Reads the turns whose emotion is one of ``lists.emotions``.

    Raises:
        ConfigError: The folders of the release, or the lists of the splits, are missing.
        DataError: A malformed line of a list of splits.
    """
    roots = [root for root in (lists.annotations, lists.raw) if root]
    by_root = ({turn.name: turn for turn in _turns(root, spec)} for root in roots)
    turns: dict[str, _Turn] = next(filter(None, by_root), {})
    if not turns:
        raise ConfigError(
            f"{spec.name}: {' and '.join(map(str, roots)) or 'a bucket'} has no turns in "
            "dialog/EmoEvaluation/Ses*.txt; give --raw the folder of the release, with Session1 "
            "to Session5, or --annotations a folder with their texts"
        )
    sessions = option(spec, "sessions", {})
    if not sessions:
        return _by_lists(lists, spec, turns)
    # The five characters in front of who wears the markers: Ses01.
    return [_clip(turn, sessions[name[:5]]) for name, turn in turns.items() if name[:5] in sessions]


def _by_lists(lists: Lists, spec: Spec, turns: Mapping[str, _Turn]) -> list[Listed]:
    """Clips of the lists of train and test; the other turns are val."""
    clips: list[Listed] = []
    changed = 0
    for split in ("train", "test"):
        for name, label in _labels(lists.need(files(spec, split), spec), spec):
            if turn := turns.get(name):
                changed += turn.label != label
                clips.append(_clip(replace(turn, label=label), split))
            else:
                # The release lacks the turn, and so its times: only a file of its own would do.
                clips.append(Listed(key=name, label=label, split=split, names={"video": (name,)}))
    if changed:
        log.warning(
            "%s: %d turns have another label in the lists than in EmoEvaluation; the lists count",
            *(spec.name, changed),
        )
    named = {clip.key for clip in clips}
    return [*clips, *(_clip(turn, "val") for turn in turns.values() if turn.name not in named)]


def _labels(path: Path, spec: Spec) -> Iterator[tuple[str, str]]:
    """Yields name and label of each line, ``<turn>.mp4 [split|sign] <words> [split|sign] Happy``.

    A line ``<turn>,Happy`` has the same facts, without the words.
    """
    words = option(spec, "words", {})
    for nth, (line, text) in enumerate(lines(path)):
        fields = [field.strip() for field in text.split(_MLA_SIGN if _MLA_SIGN in text else ",")]
        name, label = fields[0].removesuffix(".mp4"), words.get(fields[-1], fields[-1])
        if nth == 0 and not _NAME.fullmatch(name):
            continue  # The header.
        if len(fields) < 2 or not _NAME.fullmatch(name) or label not in spec.classes:
            raise line_error(path, line, text, f"expected a turn, then {', '.join(words)}")
        yield name, label


def _turns(root: Path, spec: Spec) -> Iterator[_Turn]:
    """Yields the turns of all dialogues that have one of the emotions, in order of their names."""
    label_of = option(spec, "emotions", {})
    words = _words(root)
    # The pattern leaves out the ._Ses*.txt of a Mac.
    for path in sorted(root.rglob("dialog/EmoEvaluation/Ses*.txt")):
        for line in decoded(path).split("\n"):
            match = _TURN.fullmatch(line.strip())
            if match and _NAME.fullmatch(match["name"]) and match["emotion"] in label_of:
                yield _Turn(
                    name=match["name"],
                    label=label_of[match["emotion"]],
                    emotion=match["emotion"],
                    start=float(match["start"]),
                    end=float(match["end"]),
                    words=words.get(match["name"]),
                )


def _words(root: Path) -> dict[str, str]:
    """Words of each turn; notes of the transcribers, which name no turn, are left out."""
    words: dict[str, str] = {}
    for path in sorted(root.rglob("dialog/transcriptions/Ses*.txt")):
        for line in decoded(path).split("\n"):
            if match := _WORDS.fullmatch(line.strip()):
                words[match["name"]] = match["words"].strip()
    return words


def _clip(turn: _Turn, split: str) -> Listed:
    dialogue, _, speaker = turn.name.rpartition("_")
    return Listed(
        key=turn.name,
        label=turn.label,
        split=split,
        names={
            "video": (f"avi/DivX/{dialogue}", f"avi/{dialogue}"),
            "audio": (f"dialog/wav/{dialogue}",),
        },
        start=turn.start,
        end=turn.end,
        extra={"session": turn.name[:5], "speaker": speaker[0], "emotion": turn.emotion},
        # Without words the clip fails, and is named, when its text is made.
        texts={} if turn.words is None else {"text": turn.words},
    )
