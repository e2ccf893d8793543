"""Pictures side by side, each under its time: frames, differences, depth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from mmprep.inspection.picture.sheet import CONTENT, HEADING, LEFT, LINE, MUTED, Sheet, by
from mmprep.inspection.picture.view import View

MOST: Final = 12
_TALLEST: Final = 260.0
_LOW: Final = 150.0
_NARROW: Final = 104.0  # room for a caption
_CAPTION: Final = 22
_BETWEEN: Final = 10
_FOOT: Final = 26
_NOUNS: Final = {"frames": "frames"}


def evenly(count: int, most: int = MOST) -> list[int]:
    """All indices below ``count``, or ``most`` of them evenly spaced, first and last included."""
    if count <= most:
        return list(range(count))
    return [int(i) for i in np.linspace(0, count - 1, most).round()]


def captions(view: View, part: str, chosen: Sequence[int]) -> list[str]:
    """The time of each chosen member in seconds, or its number where the record has no time."""
    times = view.times
    if len(times) != len(view.members[part]):
        return [f"no. {i}" for i in chosen]
    return [f"{times[i]:.2f} s" for i in chosen]


def how_many(count: int, what: str) -> str:
    """A note that says how many there are, and how many of them are shown."""
    if count <= MOST:
        return f"{count} {what if count > 1 else what.removesuffix('s')}"
    return f"{MOST} of {count} {what},\nevenly spaced"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Places for pictures of one shape, in one row or two; all lengths in pixels."""

    columns: int
    rows: int
    tile_width: float
    tile_height: float

    @classmethod
    def fitting(cls, count: int, width: int, height: int) -> Self:
        """The grid for ``count`` pictures of ``width`` x ``height``, as large as there is room."""
        tall = _tall(count, width, height)
        large = tall >= _LOW and tall * width / height >= _NARROW
        rows = 1 if large or count < 4 else 2
        columns = -(-count // rows)
        tall = _tall(columns, width, height)
        return cls(columns=columns, rows=rows, tile_width=tall * width / height, tile_height=tall)

    @property
    def height(self) -> float:
        """From the first caption to the end of the last row."""
        return self.rows * (self.tile_height + _CAPTION + _BETWEEN) - _BETWEEN

    def tile(self, sheet: Sheet, top: float, i: int, caption: str) -> Axes:
        """Axes of the ``i``-th picture, with its caption above."""
        row, column = divmod(i, self.columns)
        left = LEFT + column * (self.tile_width + _BETWEEN)
        top += row * (self.tile_height + _CAPTION + _BETWEEN)
        sheet.text(left, top, caption, px=12.5, colour=MUTED)
        axes = sheet.axes(left, top + _CAPTION, self.tile_width, self.tile_height)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(LINE)
        return axes


@dataclass(frozen=True, kw_only=True, eq=False)
class Strip:
    """A panel of pictures.

    Args:
        title: Heading.
        note: What stands in the legend's column.
        pictures: (H, W, 3) each, of one size.
        captions: One a picture.
    """

    title: str
    note: str
    pictures: Sequence[NDArray[np.uint8]]
    captions: Sequence[str]

    @classmethod
    def of(cls, view: View, part: str, note: str = "") -> Self:
        """The strip of the part ``part`` of a sample."""
        count = len(view.members[part])
        chosen = evenly(count)
        pictures = view.pictures(part, chosen)
        height, width = pictures[0].shape[:2]
        lines = (f"{how_many(count, _NOUNS.get(part, 'pictures'))}\n{by(width, height)} px", note)
        return cls(
            title=part.capitalize(),
            note="\n".join(line for line in lines if line),
            pictures=pictures,
            captions=captions(view, part, chosen),
        )

    @property
    def grid(self) -> Grid:
        """Where the pictures go."""
        height, width = self.pictures[0].shape[:2]
        return Grid.fitting(len(self.pictures), width, height)

    @property
    def height(self) -> float:
        """Pixels that it takes."""
        return HEADING + self.grid.height + _FOOT

    def draw(self, sheet: Sheet, top: float) -> None:
        """Draws itself from ``top`` pixels downwards."""
        sheet.heading(top, self.title)
        sheet.legend(top + HEADING, self.note)
        grid = self.grid
        for i, (picture, caption) in enumerate(zip(self.pictures, self.captions, strict=True)):
            axes = grid.tile(sheet, top + HEADING, i, caption)
            # Digits of 28 pixels are judged pixel by pixel; photographs look better smoothed.
            rule = "nearest" if grid.tile_height > 2 * picture.shape[0] else "antialiased"
            axes.imshow(picture, aspect="auto", interpolation=rule)


def _tall(columns: int, width: int, height: int) -> float:
    room = (CONTENT - _BETWEEN * (columns - 1)) / columns
    return min(room * height / width, _TALLEST)
