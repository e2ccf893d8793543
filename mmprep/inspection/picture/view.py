"""The sample of a picture: looked up by its key, read once, decoded as panels need it."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from mmprep.config import PartsConfig
from mmprep.errors import DataError, UnknownName
from mmprep.format import Index
from mmprep.format.answer import QUESTION
from mmprep.format.jpeg import picture_size
from mmprep.format.npy import parse_array
from mmprep.format.record import parse_record
from mmprep.shards import Shards

_CANDIDATES: Final = 5000
# Shorter sides that count as too long, in those of the parameters: ready pictures may differ a bit.
_SLACK: Final = 2


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question about a clip that has questions.

    Attributes:
        text: Words of the question.
        answer: Class name of the answer.
        group: Type of the question; empty for none.
        own: Whether it is the question of the sample itself.
    """

    text: str
    answer: str
    group: str
    own: bool


@dataclass(frozen=True, kw_only=True)
class View:
    """One sample.

    Attributes:
        key: Key of the sample.
        label: Name of its class.
        split: Name of its split.
        classes: Names of all classes, in the order of their ids.
        record: The content of ``KEY.json``; any field may be absent.
        members: Part to the bytes of its members.
        config: Parameters of the parts.
        group: Name of its group; empty for none.
        questions: Questions about its clip; empty where the sample is the clip.
    """

    key: str
    label: str
    split: str
    classes: Sequence[str]
    record: Mapping[str, Any]
    members: Mapping[str, Sequence[bytes]]
    config: PartsConfig
    group: str
    questions: Sequence[Asked]

    @classmethod
    def of(cls, shards: Shards, key: str) -> "View":
        """Reads the sample ``key``.

        Raises:
            UnknownName: There is no such sample; the message offers the nearest keys.
        """
        return cls.at(shards, row_of(shards.index, key))

    @classmethod
    def at(cls, shards: Shards, row: int, parts: Sequence[str] | None = None) -> "View":
        """Reads the sample in ``row``: its record and ``parts``, all of them by default."""
        index = shards.index
        key = index.key[row].decode()
        members = shards.read(row, None if parts is None else ["json", *parts])
        wants_questions = QUESTION in (index.parts if parts is None else parts)
        return cls(
            key=key,
            label=index.classes[index.label[row]],
            split=index.splits[index.split[row]],
            classes=index.classes,
            record=parse_record(members["json"], f"{shards.store.url}: {key}.json"),
            members={part: data for part, data in members.items() if data and part != "json"},
            config=shards.config(),
            group=index.group_name(row),
            questions=_questions(shards, row) if wants_questions else (),
        )

    @property
    def times(self) -> list[float]:
        """Times of the frames in seconds from the clip's start; empty where the record has none."""
        return [float(time) for time in self.record.get("times_s") or ()]

    @property
    def checks(self) -> Mapping[str, bool | int]:
        """Results of the checks of the clip, by name."""
        checks: Mapping[str, bool | int] = self.record.get("checks") or {}
        return checks

    @property
    def target(self) -> list[float]:
        """Numbers to predict beside the label: a score, or the class id of each segment."""
        return [float(value) for value in self.record.get("target") or ()]

    @property
    def missing(self) -> list[str]:
        """Names of the parts that the clip lacks."""
        return [str(name) for name in self.record.get("missing") or ()]

    def pictures(self, part: str, chosen: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Decodes the ``chosen`` pictures of a part to RGB (H, W, 3), grey ones too.

        Raises:
            DataError: A picture is no JPEG.
        """
        return [self._jpeg(part, i, "RGB") for i in chosen]

    def planes(self, chosen: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Decodes ``chosen`` members of ``flow`` to (2 L H, W), see `mmprep.clips.parts.flow`."""
        return [self._jpeg("flow", i, "GRAY")[..., 0] for i in chosen]

    def spectrogram(self) -> NDArray[np.float32]:
        """Reads the spectrogram: (frequencies, columns).

        Raises:
            DataError: The member is no matrix in `.npy` form.
        """
        return self._matrix("spectrogram")

    def sequence(self, part: str) -> NDArray[np.float32]:
        """Reads a feature sequence: (steps, features).

        Raises:
            DataError: The member is no matrix in `.npy` form.
        """
        return self._matrix(part)

    def text(self, part: str) -> str:
        """Reads a text.

        Raises:
            DataError: The member is not UTF-8.
        """
        return _decoded(self.members[part][0], f"{self.key}: the {part}")

    def _matrix(self, part: str) -> NDArray[np.float32]:
        values = read_npy(self.members[part][0], f"{self.key}: the {part}")
        if values.ndim != 2 or not values.size:
            raise DataError(
                f"{self.key}: a {part} of shape {values.shape}; two axes with values expected"
            )
        return values

    def _jpeg(self, part: str, i: int, space: str) -> NDArray[np.uint8]:
        data = self.members[part][i]
        # Frames and flow are made with a shorter side of a stated size; flow has planes below.
        flow = part == "flow"
        side = self.config.flow.short_side if flow else self.config.frames.short_side
        planes = 2 * self.config.flow.fields if flow else 1
        try:
            height, width = picture_size(data)
            if min(height // planes, width) > _SLACK * side:
                raise ValueError(f"is {width} x {height} where the shorter side is {side}")
            picture = simplejpeg.decode_jpeg(data, colorspace=space)
        except ValueError as error:
            raise DataError(f"{self.key}: {part} {i} is no JPEG ({error})") from error
        return np.asarray(picture, np.uint8)


def _questions(shards: Shards, row: int) -> list[Asked]:
    """Questions about the clip of the sample in ``row``; none where the sample is the clip."""
    index = shards.index
    if index.question is None or index.questions is None or not index.questions[row]:
        return []
    first = row - int(index.question[row])
    return [
        Asked(
            text=_decoded(
                shards.read(each, [QUESTION])[QUESTION][0],
                f"{index.key[each].decode()}: the {QUESTION}",
            ),
            answer=index.classes[index.label[each]],
            group=index.group_name(each),
            own=each == row,
        )
        for each in range(first, first + int(index.questions[row]))
    ]


def _decoded(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{what} is not UTF-8 ({error.reason})") from error


def read_npy(data: bytes, what: str) -> NDArray[np.float32]:
    """Reads the array in `.npy` bytes as float32, without unpickling.

    Args:
        data: Bytes of the member.
        what: Sample and part, for the message.

    Raises:
        DataError: The bytes are no array.
    """
    try:
        values = parse_array(data)
        if values.dtype.kind not in "fiu":
            raise ValueError(f"holds {values.dtype}")
        return np.asarray(values, np.float32)
    except ValueError as error:
        raise DataError(f"{what} is no .npy file ({error})") from error


def row_of(index: Index, key: str) -> int:
    """Row of the sample ``key``.

    Raises:
        UnknownName: There is no such sample; the message offers the nearest keys.
    """
    try:
        return index.find(key)
    except DataError as error:
        raise UnknownName("sample", key, nearest(index, key)) from error


def nearest(index: Index, key: str, count: int = 3) -> list[str]:
    """Keys that resemble ``key``, best first; the first keys of the data set where none does."""
    width = index.key.dtype.itemsize
    wanted = np.frombuffer(key.encode()[:width].ljust(width, b"\0"), np.uint8)
    letters = np.ascontiguousarray(index.key).view(np.uint8).reshape(len(index), width)
    # difflib would take minutes for a million keys. It gets only those with many letters in the
    # right place, or one beside it, because a letter too few or too many moves the rest.
    agreeing = sum(
        ((letters == moved) & (moved != 0)).sum(axis=1, dtype=np.int16)
        for moved in (np.roll(wanted, by) for by in (-1, 0, 1))
    )
    rows = np.argsort(-agreeing, kind="stable")[:_CANDIDATES]
    keys = [value.decode() for value in index.key[rows].tolist()]
    return difflib.get_close_matches(key, keys, count) or index.some_keys(count)
