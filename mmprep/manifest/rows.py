"""Rows of a manifest: clips with their sources, labels and targets.

A row names its sources by kind, because data sets differ: a Kinetics clip is one ``video``, an
NVGesture clip a ``video`` and a ``depth`` stream, an AV-MNIST sample an ``image`` and an ``audio``.
"""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from mmprep.errors import DataError
from mmprep.format.answer import Answer, row_key

# Kinds of source that a row may have; each is a column of the CSV.
SOURCES: Final = (
    *("video", "audio", "image", "depth", "text", "flow"),
    *("target", "question", "speech", "face", "words"),
)
# Kinds whose text may stand in the list itself, in place of the path of a file.
TEXTS: Final = ("text", "target", "question")
SPLITS: Final = ("train", "val", "test")
KEY_LENGTH: Final = 80
# Kinds of which one file may hold many: ``FILE#NAME`` is one of them.
_CONTAINERS: Final = frozenset({"image", "speech", "face", "words"})
_LARGEST: Final = 3.4e38  # of float32
_KEY = re.compile(rf"[A-Za-z0-9_-]{{1,{KEY_LENGTH}}}")
# Without a hyphen, so that the last ``-q`` of a row's key is the one before its question.
_QUESTION = re.compile(r"[A-Za-z0-9_]+")
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question about a clip; each becomes a row of the index.

    Attributes:
        id: Name of the question, of letters, digits and ``_``; unique within its clip.
        text: Words of the question.
        label: Class name of the answer.
        group: Type of the question, by which scores are also given.
    """

    id: str
    text: str
    label: str
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Voice:
    """Sound of another clip, from which a clip's babble may be made, see `mmprep.build.voices`.

    Attributes:
        key: Key of the other clip.
        source: Path of the file with its sound, relative to ``--raw``.
        start: Start of the other clip, as in `Row`.
        end: End of the other clip, as in `Row`.
        listed: Span of the other clip in a whole video, as in `Row`.
    """

    key: str
    source: str
    start: float | None = None
    end: float | None = None
    listed: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One clip.

    Attributes:
        key: Name of the sample, of up to 80 letters, digits, ``_`` and ``-``; unique, and the same
            in every build.
        label: Class name, as the data set writes it; empty for a clip with questions, whose labels
            are theirs.
        split: Name of the split: ``train``, ``val`` or ``test``.
        sources: Kind of source (see `SOURCES`) to its POSIX path relative to ``--raw``. An
            ``image`` may end in ``#N``: the N-th picture of an idx file; a ``speech``, ``face`` or
            ``words`` in ``#NAME``: one array of the file.
        start: Seconds from the source's beginning to the clip's start; None is 0.
        end: Seconds from the source's beginning to the clip's end; None is the source's end.
        extra: Further columns of the list, which are copied into the sample's record.
        listed: Seconds of the whole video between which the clip lies, for a file whose name
            carries no times: a file that is longer than the clip is cut there. None takes the file
            as it is.
        target: Numbers to predict beside the label, equally many in every row: the score of a
            regression, or the class id of each segment.
        group: Group of samples by which scores are also given.
        texts: Part (see `TEXTS`) to its text, where the list holds the text itself.
        questions: Questions about the clip, which share its other parts.
        lacking: Kinds of source that the clip lacks and the data set lets it lack: parts that could
            be made from them alone have no members.
        voices: Other clips whose sounds may be mixed into this one's, in the order of their draw.
    """

    key: str
    label: str
    split: str
    sources: Mapping[str, str]
    start: float | None = None
    end: float | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    listed: tuple[float, float] | None = None
    target: tuple[float, ...] = ()
    group: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    questions: tuple[Question, ...] = ()
    lacking: tuple[str, ...] = ()
    voices: tuple[Voice, ...] = ()

    @property
    def source(self) -> str:
        """Path of the first source, which stands for the row in messages; its key without one."""
        return next(iter(self.sources.values()), self.key)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class name of each row of the index that the clip becomes."""
        return tuple(question.label for question in self.questions) or (self.label,)

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Answers of the questions, as the index takes them."""
        return tuple(Answer(id=q.id, label=q.label, group=q.group) for q in self.questions)

    @property
    def row_keys(self) -> tuple[str, ...]:
        """Key of each row of the index that the clip becomes."""
        return tuple(row_key(self.key, question.id) for question in self.questions) or (self.key,)

    def to_json(self) -> dict[str, Any]:
        """Plain values of the row; those that few rows have only where they are set."""
        # Not `asdict`, which copies each value of each row and takes ten times as long.
        plain = dict(vars(self))
        for name in ("listed", "target", "group", "texts", "questions", "lacking", "voices"):
            if not plain[name]:
                del plain[name]
        for name in ("questions", "voices"):
            if name in plain:
                plain[name] = tuple(asdict(each) for each in plain[name])
        return plain


def safe_key(name: str) -> str:
    """Returns ``name`` if it is a valid key, else a readable, unique and stable one made from it.

    Example:
        >>> safe_key("-3Mwkq-7TV4_2")
        '-3Mwkq-7TV4_2'
        >>> safe_key("été/clip 1")
        '_t__clip_1-83a6ec26'
    """
    if _KEY.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return f"{readable[: KEY_LENGTH - 9]}-{digest}"


def check_rows(rows: Sequence[Row], origin: str) -> list[Row]:
    """Returns ``rows`` if their keys, splits, paths and targets are valid.

    Args:
        rows: Rows to check.
        origin: Name of the list, for error messages.

    Raises:
        DataError: A key is malformed or used twice, a split is unknown, a path leaves ``--raw``,
            or targets or questions are malformed.
    """
    seen: dict[str, Row] = {}
    for row in rows:
        if not _KEY.fullmatch(row.key):
            raise DataError(
                f"{origin}: key {row.key!r} may hold letters, digits, _ and -, at most {KEY_LENGTH}"
            )
        if row.split not in SPLITS:
            raise DataError(
                f"{origin}: {row.key}: split {row.split!r} is none of {', '.join(SPLITS)}"
            )
        if outside := next(filter(leads_outside, row.sources.values()), None):
            raise DataError(f"{origin}: {row.key}: {outside!r} leaves --raw; give a path below it")
        if fault := next(target_faults(row), None):
            raise DataError(f"{origin}: {row.key}: {fault}")
        for key in dict.fromkeys((row.key, *row.row_keys)):
            if key in seen:
                raise DataError(
                    f"{origin}: key {key!r} stands twice: {seen[key].source} and "
                    f"{row.source}; give each row a name of its own in the column `key`"
                )
            seen[key] = row
        if len(row.target) != len(rows[0].target):
            raise DataError(
                f"{origin}: {row.key}: {len(row.target)} target values, where {rows[0].key} has "
                f"{len(rows[0].target)}; all rows need as many"
            )
    return list(rows)


def target_faults(row: Row) -> Iterator[str]:
    """Yields a sentence for each fault of the targets, texts and questions of a row."""
    if not (row.target or row.group or row.texts or row.questions):
        return
    if not all(math.isfinite(value) and abs(value) <= _LARGEST for value in row.target):
        yield f"target values {row.target} are not all finite numbers of 32 bits"
    if strange := sorted(set(row.texts) - set(TEXTS)):
        yield f"a text {strange[0]!r}, which is none of {', '.join(TEXTS)}"
    if row.questions and (row.label or row.group or row.target):
        yield "a clip with questions has no label, group or target of its own; leave them to those"
    ids = [question.id for question in row.questions]
    if len(set(ids)) < len(ids):
        yield "two questions have one id"
    for question, key in zip(row.questions, row.row_keys, strict=False):
        if not _QUESTION.fullmatch(question.id):
            yield f"the question's id {question.id!r} may hold letters, digits and _"
        if len(key) > KEY_LENGTH:
            yield f"the key {key!r} of a question is longer than {KEY_LENGTH}"
    for name in (row.group, *(question.group for question in row.questions)):
        if "\0" in name:
            yield f"a NUL in the group {name!r}"


def leads_outside(source: str) -> bool:
    """Whether the path ``source``, as it is written, leads out of the raw folder."""
    path = source.replace("\\", "/")
    return path.startswith("/") or ".." in path.split("/") or bool(_DRIVE.match(source))


def source_file(kind: str, source: str) -> str:
    """Path of the file of a source, without the ``#NAME`` of one of its pictures or arrays.

    Elsewhere ``#`` is a letter of the name.
    """
    return source.partition("#")[0] if kind in _CONTAINERS else source


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One clip that an official list names, before its files are looked for.

    Attributes:
        key: Key of the sample, see `Row`.
        label: Class name; empty for a clip with questions.
        split: Name of the split: ``train``, ``val`` or ``test``.
        names: Kind of source to the file names, without suffix, under which it may lie, best first.
            A name with ``/`` must match the end of a path; one that is the whole path of a file,
            with its suffix, means that file; ``#NAME`` at the end (picture N of an idx file, an
            array of a file of features) stays.
        start: Seconds from the beginning of the file, not of the video from which it was cut, to
            the clip's start.
        end: Seconds from the beginning of the file to the clip's end.
        extra: Further columns of the list.
        span: Seconds of the whole video between which the clip lies, see `Row.listed`.
        target: Numbers to predict, see `Row.target`.
        group: Group of samples, see `Row.group`.
        texts: Texts that the list itself holds, see `Row.texts`.
        questions: Questions about the clip, see `Row.questions`.
    """

    key: str
    label: str
    split: str
    names: Mapping[str, tuple[str, ...]]
    start: float | None = None
    end: float | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    span: tuple[float, float] | None = None
    target: tuple[float, ...] = ()
    group: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    questions: tuple[Question, ...] = ()
