"""Pictures side by side, each under its time: frames, differences, depth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from mmprep.inspection.picture.sheet import CONTENT, HEADING, LEFT, LINE, MUTED, Sheet, size_text
from mmprep.inspection.picture.view import View

MOST: Final = 12
_TALLEST: Final = 260.0
_LOW: Final = 150.0
_NARROW: Final = 104.0  # room for a caption
_CAPTION: Final = 22
_BETWEEN: Final = 10
_FOOT: Final = 26
_NOUNS: Final = {"frames": "frames"}


def evenly_spaced(count: int, most: int = MOST) -> list[int]:
    """All indices below ``count``, or ``most`` of them evenly spaced, first and last included."""
    if count <= most:
        return list(range(count))
    return [int(i) for i in np.linspace(0, count - 1, most).round()]


def captions(view: View, part: str, chosen: Sequence[int]) -> list[str]:
    """Times of the chosen members in seconds, or their numbers where the record has no times."""
    times = view.times
    if len(times) != len(view.members[part]):
        return [f"no. {i}" for i in chosen]
    return [f"{times[i]:.2f} s" for i in chosen]


def count_text(count: int, what: str) -> str:
    """Returns the number of members, and how many of them are shown, as text."""
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
        """Chooses the largest tiles for ``count`` pictures of ``width`` x ``height``."""
        tall = _tall(count, width, height)
        large = tall >= _LOW and tall * width / height >= _NARROW
        rows = 1 if large or count < 4 else 2
        columns = -(-count // rows)
        tall = _tall(columns, width, height)
        return cls(columns=columns, rows=rows, tile_width=tall * width / height, tile_height=tall)

    @property
    def height(self) -> float:
        """Pixels from the first caption to the end of the last row."""
        return self.rows * (self.tile_height + _CAPTION + _BETWEEN) - _BETWEEN

    def tile(self, sheet: Sheet, top: float, i: int, caption: str) -> Axes:
        """Adds axes for the ``i``-th picture, with its caption above."""
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
        title: Heading of the panel.
        note: Text in the column of legends.
        pictures: Pictures (H, W, 3) of one size.
        captions: Texts above the pictures.
    """

    title: str
    note: str
    pictures: Sequence[NDArray[np.uint8]]
    captions: Sequence[str]

    @classmethod
    def of(cls, view: View, part: str, note: str = "") -> Self:
        """Returns the strip of the part ``part`` of a sample."""
        count = len(view.members[part])
        chosen = evenly_spaced(count)
        pictures = view.pictures(part, chosen)
        height, width = pictures[0].shape[:2]
        lines = (
            f"{count_text(count, _NOUNS.get(part, 'pictures'))}\n{size_text(width, height)} px",
            note,
        )
        return cls(
            title=part.capitalize(),
            note="\n".join(line for line in lines if line),
            pictures=pictures,
            captions=captions(view, part, chosen),
        )

    @property
    def grid(self) -> Grid:
        """Places of the pictures."""
        height, width = self.pictures[0].shape[:2]
        return Grid.fitting(len(self.pictures), width, height)

    @property
    def height(self) -> float:
        """Height of the panel in pixels."""
        return HEADING + self.grid.height + _FOOT

    def draw(self, sheet: Sheet, top: float) -> None:
        """Draws the panel from ``top`` pixels downwards."""
        sheet.heading(top, self.title)
        sheet.legend(top + HEADING, self.note)
        grid = self.grid
        for i, (picture, caption) in enumerate(zip(self.pictures, self.captions, strict=True)):
            axes = grid.tile(sheet, top + HEADING, i, caption)
            # In a digit of 28 x 28 single pixels matter; a photograph looks better smoothed.
            rule = "nearest" if grid.tile_height > 2 * picture.shape[0] else "antialiased"
            axes.imshow(picture, aspect="auto", interpolation=rule)


def _tall(columns: int, width: int, height: int) -> float:
    room = (CONTENT - _BETWEEN * (columns - 1)) / columns
    return min(room * height / width, _TALLEST)
