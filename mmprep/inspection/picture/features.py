"""Feature sequences as heat maps: steps to the right, features downwards."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mmprep.inspection.picture.sheet import (
    CONTENT,
    GAP,
    HEADING,
    INK,
    LEFT,
    LINE,
    MUTED,
    Sheet,
    points,
    size_text,
)
from mmprep.inspection.picture.view import View

_FEET: Final = 62
_TALLEST: Final = 200
_LOWEST: Final = 90
# Deviations from the mean at which the colours end.
_SPREAD: Final = 3.0


@dataclass(frozen=True, kw_only=True, eq=False)
class SequencePanel:
    """A panel with one sequence.

    Args:
        title: Heading of the panel.
        values: (steps, features) numbers.
    """

    title: str
    values: NDArray[np.float32]

    @classmethod
    def of(cls, view: View, part: str) -> Self:
        """Returns the panel of the part ``part`` of a sample."""
        return cls(title=part.capitalize(), values=view.sequence(part))

    @property
    def _tall(self) -> float:
        return float(min(max(4 * self.values.shape[1], _LOWEST), _TALLEST))

    @property
    def height(self) -> float:
        """Height of the panel in pixels."""
        return HEADING + self._tall + _FEET

    def draw(self, sheet: Sheet, top: float) -> None:
        """Draws the panel from ``top`` pixels downwards."""
        sheet.heading(top, self.title)
        top += HEADING
        axes = sheet.axes(LEFT, top, CONTENT, self._tall)
        steps, features = self.values.shape
        picture = axes.imshow(
            standardised(self.values).T,
            aspect="auto",
            interpolation="nearest" if steps < CONTENT else "antialiased",
            extent=(0, steps, features, 0),
            cmap="RdBu_r",
            vmin=-_SPREAD,
            vmax=_SPREAD,
        )
        axes.set_xlabel("step", fontsize=points(13), color=INK)
        axes.set_ylabel("feature", fontsize=points(13), color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.tick_params(labelsize=points(12), colors=INK, length=4, color=MUTED)
        bar = sheet.axes(LEFT + CONTENT + GAP, top, 14, self._tall - 40)
        sheet.figure.colorbar(picture, cax=bar)
        bar.tick_params(labelsize=points(12), colors=INK, length=4, color=MUTED)
        for spine in (*axes.spines.values(), *bar.spines.values()):
            spine.set_color(LINE)
        note = f"deviations, each feature\n{size_text(steps, features)}, steps first"
        sheet.legend(top + self._tall - 26, note)


def standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (steps, features) in their own deviations from their own mean.

    They have units of their own, so that one range of colours for all would show only the largest.
    """
    numbers = values.astype(np.float64)
    spread = numbers.std(axis=0)
    centred = numbers - numbers.mean(axis=0)
    return np.asarray(np.divide(centred, spread, where=spread > 0, out=0 * centred), np.float32)
