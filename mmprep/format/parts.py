"""The parts of a sample: the one table of their names, files, sources and drawings.

A new part is a line here and a maker in `mmprep.clips.parts`; the command line, the plan, the tar
files, the index and the pictures of a data set all read this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part: how its files are called, what it is made from and how it is drawn.

    Attributes:
        name: Name in ``--parts``, in `dataset.json` and in the index.
        stem: Middle of a file's name: members are ``KEY.<stem>.<suffix>``.
        suffix: End of a file's name, without the dot.
        numbered: Whether a sample has several files of it, numbered behind the stem.
        kind: Content of a file: a JPEG ``image``, a NumPy ``array`` or UTF-8 ``text``.
        made_from: Kinds of source (see `mmprep.manifest.SOURCES`) that it can be made from.
        settings: Tables of `mmprep.config.PartsConfig` whose values change its bytes.
        drawing: Panel that shows it: a ``strip`` of pictures, a ``field`` of motion, a
            ``spectrogram``, a ``sequence`` of feature vectors, or ``text``.
    """

    name: str
    stem: str
    suffix: str
    numbered: bool
    kind: Literal["image", "array", "text"]
    made_from: frozenset[str]
    settings: tuple[str, ...]
    drawing: Literal["strip", "field", "spectrogram", "sequence", "text"]

    def member_names(self, key: str, count: int, *, numbered: bool = False) -> list[str]:
        """Names of the ``count`` files of this part of the sample ``key``, in archive order.

        Args:
            key: Key of the sample.
            count: Number of files.
            numbered: Whether the files are numbered even if those of this part usually are not.
        """
        if not (self.numbered or numbered):
            stem = f"{key}.{self.stem}" if self.stem else key
            return [f"{stem}.{self.suffix}"] * count
        # Equal widths, so that the files sort by number in any tool.
        width = max(2, len(str(count - 1)))
        return [f"{key}.{self.stem}{i:0{width}}.{self.suffix}" for i in range(count)]


def _pictures(
    name: str,
    stem: str,
    *,
    made_from: frozenset[str],
    settings: tuple[str, ...] = ("frames",),
    drawing: Literal["strip", "field"] = "strip",
) -> Part:
    """A part of numbered JPEG files, one for each frame time."""
    return Part(
        name=name,
        stem=stem,
        suffix="jpg",
        numbered=True,
        kind="image",
        made_from=made_from,
        settings=settings,
        drawing=drawing,
    )


def _text(name: str) -> Part:
    """A part of one text, which is stored as it is."""
    return Part(
        name=name,
        stem=name,
        suffix="txt",
        numbered=False,
        kind="text",
        made_from=frozenset({name}),
        settings=("text",),
        drawing="text",
    )


def _sequence(name: str) -> Part:
    """A part of one array of feature vectors, (steps, features)."""
    return Part(
        name=name,
        stem=name,
        suffix="npy",
        numbered=False,
        kind="array",
        made_from=frozenset({name}),
        settings=("sequence",),
        drawing="sequence",
    )


# Name of the record `KEY.json`, which every sample has in front of its parts.
RECORD: Final = "json"
_RECORD_PART: Final = Part(
    name=RECORD,
    stem="",
    suffix="json",
    numbered=False,
    kind="text",
    made_from=frozenset(),
    settings=(),
    drawing="text",
)
_PICTURE_SOURCES: Final = frozenset({"video", "image"})
_TABLE: Final = (
    _pictures("frames", "frame", made_from=_PICTURE_SOURCES),
    Part(
        name="spectrogram",
        stem="spectrogram",
        suffix="npy",
        numbered=False,
        kind="array",
        made_from=frozenset({"audio", "video"}),
        settings=("spectrogram",),
        drawing="spectrogram",
    ),
    _pictures("flow", "flow", made_from=_PICTURE_SOURCES, settings=("flow",), drawing="field"),
    _pictures("difference", "difference", made_from=_PICTURE_SOURCES),
    _pictures("depth", "depth", made_from=frozenset({"depth"})),
    _text("text"),
    _text("target"),
    _text("question"),
    _sequence("speech"),
    _sequence("face"),
    _sequence("words"),
)

# The order is that of the members of a sample, and so part of the format: append, never reorder.
PARTS: Final[Mapping[str, Part]] = {part.name: part for part in _TABLE}


def part_named(name: str) -> Part:
    """The part ``name``, or the record.

    Raises:
        KeyError: This format has no such part.
    """
    return _RECORD_PART if name == RECORD else PARTS[name]
