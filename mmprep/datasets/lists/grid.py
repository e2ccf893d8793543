"""GRID: sentences of six words, of which one is the label, cut out by the corpus's alignments.

The name of a clip spells its sentence, one letter a word: ``bbaf2n`` is *bin blue at f two now*. An
alignment gives the times of the words, ``start end word`` a line, 25,000 ticks a second, with
silences. Alignments lie beside the clips or in folders of their own, as the corpus and its copies
have them: ``s1/align/bbaf2n.align``, ``align/bbaf2n.align`` or ``alignments/s1/bbaf2n.align``.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from mmprep.datasets.lists.listed import Lists, option
from mmprep.datasets.lists.text import line_error, lines
from mmprep.datasets.scan import scan
from mmprep.datasets.spec import Spec
from mmprep.errors import ConfigError, DataError
from mmprep.manifest import SPLITS, Listed
from mmprep.splits import pick

log = logging.getLogger(__name__)

_DIGITS: Final = (
    *("zero", "one", "two", "three", "four"),
    *("five", "six", "seven", "eight", "nine"),
)
# Words by the letter that stands for them, in the order of a sentence.
WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "command": {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    "colour": {"b": "blue", "g": "green", "r": "red", "w": "white"},
    "preposition": {"a": "at", "b": "by", "i": "in", "w": "with"},
    "letter": {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},
    "digit": dict(zip("z123456789", _DIGITS, strict=True)),
    "adverb": {"a": "again", "n": "now", "p": "please", "s": "soon"},
}
_SENTENCE: Final = re.compile("".join(f"[{''.join(words)}]" for words in WORDS.values()))
# ``s1``, and what copies of the corpus make of it: ``S01``, ``s1_processed``, ``s1.mpg_vcd``.
_SPEAKER: Final = re.compile(r"s0*([1-9][0-9]?)(?![0-9a-z]).*", re.IGNORECASE)
_TICKS: Final = 25_000
_SILENCES: Final = ("sil", "sp")
# Decimals of times in seconds: a tick is 0.00004.
_DECIMALS: Final = 5
_SHARES: Final = {"train": 0.7, "val": 0.1, "test": 0.2}
_SHOWN: Final = 3


class _Clip(NamedTuple):
    """Name of a clip: a speaker, empty where no folder names one, and a sentence."""

    speaker: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.speaker}/{self.sentence}" if self.speaker else self.sentence


class _Word(NamedTuple):
    """A word of an alignment."""

    start_s: float
    end_s: float
    text: str


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Lists one clip for each alignment: ``clip_s`` seconds around the middle of one word.

    Clips without an alignment are left out, and the log names them; alignments without a clip are
    listed, so that the build reports the clip as missing, unless their speaker has no clip at all.

    Raises:
        ConfigError: There are no alignments or no speakers, or options of the lists are wrong.
        DataError: An alignment is malformed, or has a word that the clip's name does not spell.
    """
    word = option(spec, "word", "digit")
    if word not in WORDS:
        raise ConfigError(f"{spec.name}: lists.word is one of {', '.join(WORDS)}; got {word!r}")
    videos = _videos(lists, spec)
    speakers = {clip.speaker for clip in videos}
    alignments = _alignments(lists, spec, speakers)
    if strangers := {clip.speaker for clip in alignments} - speakers if speakers else ():
        # Alignments come in one archive for all speakers, clips in one for each.
        names = ", ".join(sorted(strangers, key=lambda name: int(name[1:])))
        log.warning(
            "%s: alignments without any clip of their speaker left out: %s", spec.name, names
        )
        alignments = {c: path for c, path in alignments.items() if c.speaker in speakers}
    if lost := sorted(videos.keys() - alignments.keys()):
        log.warning(
            "%s: %d clips without an alignment left out: %s",
            *(spec.name, len(lost), ", ".join(map(str, lost[:_SHOWN]))),
        )
    split_of = _split_rule(spec)
    listed = [
        _listed(clip, path, videos.get(clip, ()), word, split_of(clip), spec)
        for clip, path in sorted(alignments.items())
    ]
    if listed and not any(clip.split == "train" for clip in listed):
        held = ", ".join(sorted({clip.extra["speaker"] for clip in listed}))
        raise ConfigError(
            f"{spec.name}: no clip for train: lists.speakers holds out all of {held}; get "
            "more speakers, or leave out the variant"
        )
    return listed


def _videos(lists: Lists, spec: Spec) -> dict[_Clip, list[str]]:
    """Paths of each clip's files, best first.

    Raises:
        ConfigError: There is no clip below a speaker's folder.
    """
    files = lists.files
    if files is None:
        files = scan(lists.raw) if lists.raw is not None else ()
    suffixes = spec.sources["video"]
    paths = [path for path in map(PurePosixPath, files) if path.suffix[1:].lower() in suffixes]
    named = [path for path in paths if _SENTENCE.fullmatch(path.stem)]
    if len(named) < len(paths):
        log.warning(
            "%s: %d videos left out, whose names spell no sentence",
            spec.name,
            len(paths) - len(named),
        )
    above = _speaker((lists.raw.resolve().name,)) if lists.raw is not None else ""
    clips: dict[_Clip, list[str]] = defaultdict(list)
    for path in sorted(named, key=lambda p: (suffixes.index(p.suffix[1:].lower()), len(str(p)), p)):
        clips[_Clip(_speaker(path.parts[:-1]) or above, path.stem)].append(str(path))
    if astray := [paths[0] for clip, paths in clips.items() if not clip.speaker]:
        raise ConfigError(
            f"{spec.name}: {astray[0]} lies in no folder of a speaker, which the split and the "
            "key need; put each speaker's clips into a folder s1, s2, ..."
        )
    return clips


def _alignments(lists: Lists, spec: Spec, speakers: set[str]) -> dict[_Clip, Path]:
    """Path of each clip's alignment.

    Raises:
        ConfigError: There is none, or those of several speakers lie in one folder.
    """
    root = lists.annotations or lists.raw
    if root is None:
        raise ConfigError(
            f"{spec.name} reads alignments from a folder; give the one that holds them as "
            "--annotations"
        )
    paths = sorted(path for path in root.rglob("*.align") if not path.name.startswith("."))
    if not paths:
        raise ConfigError(
            f"{spec.name}: {root} has no alignments (s1/align/*.align, align/*.align or "
            f"alignments/s1/*.align); official source: {spec.downloads[0].url}"
        )
    above = _speaker((root.resolve().name,))
    only = next(iter(speakers)) if len(speakers) == 1 else ""
    of_clip: dict[_Clip, Path] = {}
    for path in paths:
        if not _SENTENCE.fullmatch(path.stem):
            raise DataError(f"{path}: the name spells no sentence of {spec.name}; delete it")
        speaker = _speaker(path.relative_to(root).parts[:-1]) or above or only
        if not speaker:
            raise ConfigError(
                f"{path} lies in no folder of a speaker, and may be of any of "
                f"{', '.join(sorted(speakers)) or 'them'}, who say the same sentences; put each "
                "speaker's alignments into s1/align, s2/align, ..."
            )
        first = of_clip.setdefault(_Clip(speaker, path.stem), path)
        if first != path and first.read_bytes() != path.read_bytes():
            raise ConfigError(f"{first} and {path} are different alignments of one clip; keep one")
    return of_clip


def _speaker(folders: Sequence[str]) -> str:
    """Speaker of a path, from the last of its folders that names one; else an empty string."""
    matches = map(_SPEAKER.fullmatch, reversed(folders))
    return next((f"s{match[1]}" for match in matches if match), "")


def _listed(
    clip: _Clip, alignment: Path, videos: Sequence[str], kind: str, split: str, spec: Spec
) -> Listed:
    words, end_s = _words(alignment)
    word = words[list(WORDS).index(kind)]
    length = spec.parts.clip_s
    # Moved where it would leave the recording, of which too little would be left to see.
    start = min(max((word.start_s + word.end_s - length) / 2, 0.0), max(end_s - length, 0.0))
    return Listed(
        key=f"{clip.speaker}_{clip.sentence}",
        label=word.text,
        split=split,
        names={"video": tuple(videos) or (str(clip),)},
        start=round(start, _DECIMALS),
        end=round(start + length, _DECIMALS),
        extra={
            "speaker": clip.speaker,
            "sentence": clip.sentence,
            "word_start_s": f"{word.start_s:g}",
            "word_end_s": f"{word.end_s:g}",
        },
    )


def _words(path: Path) -> tuple[list[_Word], float]:
    """The six words of an alignment, and the seconds at which it ends.

    Raises:
        DataError: A line is malformed, or the words are not those that the file's name spells. One
            public copy has words such as ``bine`` and ``ate``, and their times may be as wrong.
    """
    spelt = [words[letter] for words, letter in zip(WORDS.values(), path.stem, strict=True)]
    words: list[_Word] = []
    end = 0
    for line, text in lines(path):
        try:
            start_text, end_text, word = text.split()
            start, before, end = int(start_text), end, int(end_text)
            if not before <= start < end:
                raise ValueError("not in order")
        except ValueError as error:
            raise line_error(path, line, text, "expected <start> <end> <word>, in order") from error
        if word in _SILENCES:
            continue
        if [*(w.text for w in words), word] != spelt[: len(words) + 1]:
            due = spelt[len(words)] if len(words) < len(spelt) else "nothing more"
            why = f"the name {path.stem} spells {due} here; get the official alignments"
            raise line_error(path, line, text, why)
        words.append(_Word(start / _TICKS, end / _TICKS, word))
    if len(words) < len(spelt):
        raise DataError(
            f"{path}: ends before the word {spelt[len(words)]}; get it again, or delete it to "
            "leave the clip out"
        )
    return words, end / _TICKS


def _split_rule(spec: Spec) -> Callable[[_Clip], str]:
    """Returns the function that gives each clip its split.

    By default a hash of the sentence decides, so that all speakers of a sentence are in one split;
    ``lists.speakers`` names the speakers of val and of test instead, and all others are in train.
    """
    speakers = spec.lists.get("speakers", {})
    if speakers:
        of_speaker = {speaker: split for split in SPLITS for speaker in speakers.get(split, ())}
        return lambda clip: of_speaker.get(clip.speaker, "train")
    shares = spec.lists.get("shares", _SHARES)
    seed = option(spec, "seed", 0.0)
    return lambda clip: pick(clip.sentence, shares, seed)
