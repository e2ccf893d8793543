"""Optical flow as colours, with arrows on top: the hue is the direction, the strength the speed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from numpy.typing import NDArray

from mmprep.clips.parts.flow import decode
from mmprep.inspection.picture.sheet import CONTENT, GAP, HEADING, INK, LEFT, Sheet, size_text
from mmprep.inspection.picture.strip import Grid, captions, count_text, evenly_spaced
from mmprep.inspection.picture.view import View

_WHEEL: Final = 96
_NOTES: Final = 170
_FOOT: Final = 26
_ARROWS: Final = 12
_STILL: Final = 0.5


def fields_of(planes: NDArray[np.uint8], count: int, bound: float) -> NDArray[np.float32]:
    """Decodes stored planes (2 L H, W) to ``L`` fields (L, H, W, 2): u and v in pixels."""
    height, width = planes.shape[0] // (2 * count), planes.shape[1]
    stacked = planes[: 2 * count * height].reshape(count, 2, height, width)
    return decode(stacked.transpose(0, 2, 3, 1), bound)


def speed(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pixels of motion at each place of a field (H, W, 2): (H, W)."""
    return np.asarray(np.hypot(field[..., 0], field[..., 1]), np.float32)


def top_speed(field: NDArray[np.float32]) -> float:
    """Speed in pixels that only one place in 200 exceeds, but at least 1.

    With a lower bound, the noise of a still picture would be painted as strong motion.
    """
    return max(1.0, float(np.percentile(speed(field), 99.5)))


def colours(field: NDArray[np.float32], full: float) -> NDArray[np.float64]:
    """Paints a field (H, W, 2) as RGB in [0, 1]: white at rest, full colour at ``full`` px."""
    hue = np.arctan2(field[..., 1], field[..., 0]) / (2 * np.pi) % 1
    strength = np.clip(speed(field) / full, 0, 1)
    return np.asarray(hsv_to_rgb(np.stack([hue, strength, np.ones_like(hue)], axis=-1)), np.float64)


def wheel(size: int) -> NDArray[np.float64]:
    """The legend of `colours`: a disc (size, size, 4) with the same hues, clear outside it."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    field = np.stack(np.meshgrid(line, line), axis=-1)
    shown = np.clip((1 - speed(field)) * size / 2 + 0.5, 0, 1)
    return np.concatenate([colours(field, 1.0), shown[..., None]], axis=-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowPanel:
    """A panel of flow fields.

    Args:
        fields: Fields (H, W, 2) in pixels of motion, one for each instant.
        captions: Times of the fields.
        note: Number of fields, and which of several at one instant is shown.
        bound: Pixels at which motion was clipped.
    """

    fields: Sequence[NDArray[np.float32]]
    captions: Sequence[str]
    note: str
    bound: float

    @classmethod
    def of(cls, view: View) -> Self:
        """Returns the panel of a sample's flow, with the first field of each instant."""
        config = view.config.flow
        count = len(view.members["flow"])
        chosen = evenly_spaced(count)
        fields = [fields_of(p, config.fields, config.bound)[0] for p in view.planes(chosen)]
        which = f"\nfirst of {config.fields} fields" if config.fields > 1 else ""
        height, width = fields[0].shape[:2]
        how = f"{size_text(width, height)} px, {config.algorithm}{which}"
        return cls(
            fields=fields,
            captions=captions(view, "flow", chosen),
            note=f"{count_text(count, 'instants')}\n{how}",
            bound=config.bound,
        )

    @property
    def full(self) -> float:
        """Speed in pixels of the strongest colour."""
        return max(map(top_speed, self.fields))

    @property
    def grid(self) -> Grid:
        """Places of the fields."""
        height, width = self.fields[0].shape[:2]
        return Grid.fitting(len(self.fields), width, height)

    @property
    def height(self) -> float:
        """Height of the panel in pixels."""
        return HEADING + max(self.grid.height, _WHEEL + _NOTES) + _FOOT

    def draw(self, sheet: Sheet, top: float) -> None:
        """Draws the panel from ``top`` pixels downwards."""
        sheet.heading(top, "Flow")
        top += HEADING
        full = self.full
        for i, (field, caption) in enumerate(zip(self.fields, self.captions, strict=True)):
            fastest = float(speed(field).max())
            axes = self.grid.tile(sheet, top, i, f"{caption}, {fastest:.1f} px")
            axes.imshow(colours(field, full), aspect="auto")
            _arrows(axes, field)
        disc = sheet.axes(LEFT + CONTENT + GAP, top, _WHEEL, _WHEEL)
        disc.imshow(wheel(2 * _WHEEL))
        disc.set_axis_off()
        sheet.legend(top + _WHEEL + 10, self._legend(full))

    def _legend(self, full: float) -> str:
        lines = (
            "hue: direction of motion",
            f"rim: {full:.1f} px, white: still",
            "beside the time: fastest",
            "arrows: own scale each",
            "",
            self.note,
            f"clipped at ±{self.bound:g} px",
        )
        return "\n".join(lines)


def _arrows(axes: Axes, field: NDArray[np.float32]) -> None:
    """Draws the mean motion of each cell of a coarse grid; the longest arrow is one cell long."""
    full = top_speed(field)
    height, width = field.shape[:2]
    cell = max(2, round(max(height, width) / _ARROWS))
    rows, columns = height // cell, width // cell
    if not rows or not columns:
        return
    whole = field[: rows * cell, : columns * cell]
    mean = whole.reshape(rows, cell, columns, cell, 2).mean(axis=(1, 3))
    y, x = np.mgrid[:rows, :columns] * cell + (cell - 1) / 2
    moving = speed(mean) > max(_STILL, full / 20)
    axes.quiver(
        x[moving],
        y[moving],
        mean[moving, 0],
        mean[moving, 1],
        angles="xy",
        scale_units="xy",
        scale=full / cell,
        pivot="mid",
        color=INK,
        width=0.007,
        headwidth=3.5,
        headlength=4,
        headaxislength=3.5,
    )
