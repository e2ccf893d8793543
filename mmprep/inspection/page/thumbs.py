"""Small pictures of samples for a web page: a frame from the middle, and the spectrogram."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from mmprep.clips.parts.frames import jpeg, resize
from mmprep.format.answer import QUESTION
from mmprep.format.parts import RECORD, part_named
from mmprep.html.markup import data_url, shorten
from mmprep.inspection.picture.features import standardised
from mmprep.inspection.picture.motion import colours, fields_of, top_speed
from mmprep.inspection.picture.segments import Run, runs_of
from mmprep.inspection.picture.sound import levels
from mmprep.inspection.picture.view import Asked, View
from mmprep.shards import Shards

_SHORT: Final = 132
_SOUND: Final = (240, 60)
_QUALITY: Final = 82
_LETTERS: Final = 280
# Drawings that stand below the picture.
_OTHERS: Final = ("spectrogram", "text", "sequence")
# The first of these that a sample has is shown.
_PICTURES: Final = ("frames", "depth", "difference", "flow")


@dataclass(frozen=True, kw_only=True)
class Thumb:
    """One sample on the page.

    Attributes:
        key: Key of the sample.
        label: Name of its class.
        split: Name of its split.
        duration_s: Length of the clip in seconds; None where the record has none.
        picture: Address of the picture; None for a sample without one.
        part: Part that the picture comes from.
        tiny: Whether the picture is so small that it is shown pixel by pixel.
        sound: Address of the spectrogram; None for a sample without one.
        texts: Part of text to its text, or the beginning of it.
        sequences: Part of features to the address of its picture.
        score: Number to predict; None for a sample without one.
        segments: Runs of segments of one class; empty for a sample without segments.
        questions: Questions about the clip; empty where the sample is the clip.
        missing: Names of the parts that the clip lacks.
    """

    key: str
    label: str
    split: str
    duration_s: float | None
    picture: str | None
    part: str
    tiny: bool
    sound: str | None
    texts: Mapping[str, str]
    sequences: Mapping[str, str]
    score: float | None
    segments: Sequence[Run]
    questions: Sequence[Asked]
    missing: Sequence[str]


def thumb(shards: Shards, row: int) -> Thumb:
    """Reads a sample's picture, spectrogram, texts and sequences, and reduces them."""
    pictures = [part for part in _PICTURES if part in shards.index.parts][:1]
    others = [part for part in shards.index.parts if part_named(part).drawing in _OTHERS]
    view = View.at(shards, row, [*pictures, *(part for part in others if part != RECORD)])
    drawn = {part: part_named(part).drawing for part in view.members}
    if view.questions:
        drawn.pop(QUESTION, None)
    part = next((part for part in pictures if part in view.members), "")
    picture = _picture(view, part) if part else None
    return Thumb(
        key=view.key,
        label=view.label,
        split=view.split,
        duration_s=view.record.get("duration_s"),
        picture=None if picture is None else _address(picture),
        part=part,
        tiny=picture is not None and min(picture.shape[:2]) < _SHORT,
        sound=_address(_sound(view.spectrogram())) if "spectrogram" in view.members else None,
        texts={part: shorten(view.text(part), _LETTERS) for part in drawn if drawn[part] == "text"},
        sequences={
            part: _address(_features(view.sequence(part)))
            for part in drawn
            if drawn[part] == "sequence"
        },
        score=view.target[0] if len(view.target) == 1 else None,
        segments=runs_of(view.target, view.classes) if len(view.target) > 1 else (),
        questions=view.questions,
        missing=view.missing,
    )


def _picture(view: View, part: str) -> NDArray[np.uint8]:
    middle = [len(view.members[part]) // 2]
    if part == "flow":
        config = view.config.flow
        field = fields_of(view.planes(middle)[0], config.fields, config.bound)[0]
        picture = (255 * colours(field, top_speed(field))).astype(np.uint8)
    else:
        picture = view.pictures(part, middle)[0]
    return picture if min(picture.shape[:2]) <= _SHORT else resize(picture, _SHORT)


def _sound(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Paints a spectrogram as RGB, low frequencies at the bottom."""
    low, high = levels(values)
    if low is None or high is None:
        return np.zeros((_SOUND[1], _SOUND[0], 3), np.uint8)
    small = np.asarray(cv2.resize(values, _SOUND, interpolation=cv2.INTER_AREA), np.float32)
    bright = np.clip((small[::-1] - low) / max(high - low, 1e-6), 0, 1)
    return np.asarray(matplotlib.colormaps["magma"](bright, bytes=True), np.uint8)[..., :3]


def _features(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Paints a sequence as RGB, steps to the right, features downwards."""
    bright = np.clip(standardised(values).T / 6 + 0.5, 0, 1)
    rgb = np.asarray(matplotlib.colormaps["RdBu_r"](bright, bytes=True), np.uint8)[..., :3]
    steps, features = values.shape
    # Single steps stay sharp where there is room for them.
    rule = cv2.INTER_AREA if steps > _SOUND[0] or features > _SOUND[1] else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(np.ascontiguousarray(rgb), _SOUND, interpolation=rule), np.uint8)


def _address(picture: NDArray[np.uint8]) -> str:
    return data_url("jpeg", jpeg(picture, _QUALITY))
