"""Labels by segment: a strip of coloured boxes, each with the name of its class."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Self

import matplotlib
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from mmprep.inspection.picture.sheet import (
    CONTENT,
    HEADING,
    INK,
    LEFT,
    LINE,
    MUTED,
    Sheet,
    drawable,
    elide,
    points,
)
from mmprep.inspection.picture.view import View

_TALL: Final = 52
_FEET: Final = 44
_LETTER: Final = 8.5
# Class that stands for no event, in the data sets that have one.
_NOTHING: Final = ("background", LINE)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Neighbouring segments of one class.

    Attributes:
        name: Name of the class.
        colour: Colour of the class, as ``#rrggbb``.
        first: Number of the first segment.
        count: Number of segments.
    """

    name: str
    colour: str
    first: int
    count: int


def runs_of(target: Sequence[float], classes: Sequence[str]) -> list[Run]:
    """Runs of equal class ids in ``target``; a number that is no id is its own name."""
    runs: list[Run] = []
    for value, group in groupby(target):
        known = float(value).is_integer() and 0 <= value < len(classes)
        name = classes[int(value)] if known else f"{value:g}"
        first = runs[-1].first + runs[-1].count if runs else 0
        colour = _NOTHING[1] if name == _NOTHING[0] else _colour(int(value) if known else 0)
        runs.append(Run(name=name, colour=colour, first=first, count=len(list(group))))
    return runs


def _colour(number: int) -> str:
    # Light ones of matplotlib's twenty, on which dark letters can be read, then the others.
    order = (*range(1, 20, 2), *range(0, 20, 2))
    return to_hex(matplotlib.colormaps["tab20"](order[number % 20]))


@dataclass(frozen=True, kw_only=True)
class SegmentPanel:
    """A panel with the class of each segment.

    Args:
        runs: Runs of segments of one class.
        clip_s: Seconds of the clip.
    """

    runs: Sequence[Run]
    clip_s: float

    @classmethod
    def of(cls, view: View) -> Self:
        """Returns the panel of a sample's segments."""
        return cls(runs=runs_of(view.target, view.classes), clip_s=view.config.clip_s)

    @property
    def height(self) -> float:
        """Height of the panel in pixels."""
        return HEADING + _TALL + _FEET

    def draw(self, sheet: Sheet, top: float) -> None:
        """Draws the panel from ``top`` pixels downwards."""
        sheet.heading(top, "Segments")
        count = self.runs[-1].first + self.runs[-1].count
        axes = sheet.axes(LEFT, top + HEADING, CONTENT, _TALL)
        axes.set_xlim(0, count)
        axes.set_ylim(0, 1)
        axes.set_yticks([])
        for run in self.runs:
            box = Rectangle((run.first, 0), run.count, 1, facecolor=run.colour, edgecolor="white")
            axes.add_patch(box)
            room = int(run.count / count * CONTENT / _LETTER)
            axes.text(
                run.first + run.count / 2,
                0.5,
                drawable(elide(run.name, max(room, 1))),
                ha="center",
                va="center",
                fontsize=points(14),
                color=INK,
                parse_math=False,
            )
        axes.tick_params(labelsize=points(12), colors=INK, length=4, color=MUTED)
        for spine in axes.spines.values():
            spine.set_color(LINE)
        sheet.legend(top + HEADING, f"{count} segments\nof {self.clip_s / count:g} s")
