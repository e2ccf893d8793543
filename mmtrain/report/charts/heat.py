"""Matrices as colours."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np

from mmtrain.report.charts.lines import FOOT, RIGHT, TOP, WIDTH, Values, chart, data_url, svg
from mmtrain.report.markup import Markup, el

_LETTERS: Final = 18
_LETTER: Final = 6.4
_LINE: Final = 13.0
_DOWN: Final = 230.0
# As OpenCV has them: blue, green, red. The first two colours of the style sheet.
_BLUE: Final = np.array([196, 111, 47])
_ORANGE: Final = np.array([43, 130, 217])


class _Cells(NamedTuple):
    """Where the cells of a matrix lie, in pixels."""

    left: float
    wide: float
    tall: float

    def middle(self, row: int, column: int) -> tuple[float, float]:
        """Of a cell, for its text."""
        return self.left + (column + 0.5) * self.wide, TOP + (row + 0.5) * self.tall + 4


def heat(
    title: str,
    values: Values,
    names: tuple[Sequence[str], Sequence[str]],
    axes: tuple[str, str],
    written: Callable[[int, int], str] | None = None,
    square: bool = False,
) -> Markup:
    """A matrix as colours: 0 is the ground, 1 full blue, -1 full orange.

    Args:
        title: Above it.
        values: (rows, columns) in [-1, 1]; NaN is 0.
        names: Of rows and of columns; thinned out where there is no room.
        axes: What rows and columns are.
        written: Text of a cell, for small matrices.
        square: Rows and columns mean the same, and their cells are as high as they are wide.
    """
    rows, columns = values.shape
    longest = max((len(_short(name)) for name in names[0]), default=0)
    left = 26 + _LETTER * longest
    room = WIDTH - left - RIGHT
    wide, tall = room / columns, min(22.0, max(_DOWN / rows, min(4.0, 2 * _DOWN / rows)))
    if square:
        wide = tall = min(wide, _DOWN / rows)
        left += (room - wide * columns) / 2
    cells = _Cells(left, wide, tall)
    across, down = wide * columns, tall * rows
    place = {"x": left, "y": TOP, "width": across, "height": down}
    middle = TOP + down / 2
    body = [
        el("rect", class_="ground", **place),
        el("image", href=_png(values), preserveAspectRatio="none", **place),
        *_names(names, cells, TOP + down + 14),
        *(_texts(values, cells, written) if written else ()),
        el("text", axes[1], x=left + across / 2, y=TOP + down + 32, text_anchor="middle"),
        el(
            "text",
            axes[0],
            x=left - _LETTER * longest - 15,
            y=middle,
            text_anchor="middle",
            transform=f"rotate(-90 {left - _LETTER * longest - 15:.1f} {middle:.1f})",
        ),
    ]
    return chart(title, svg(body, title, TOP + down + FOOT))


def _names(
    names: tuple[Sequence[str], Sequence[str]], cells: _Cells, foot: float
) -> Iterator[Markup]:
    """Of as many rows and columns as can be read."""
    for i in range(0, len(names[0]), _every(_LINE, cells.tall)):
        _, y = cells.middle(i, 0)
        yield el("text", _short(names[0][i]), x=cells.left - 5, y=y, text_anchor="end")
    longest = max(map(len, names[1]), default=0)
    for j in range(0, len(names[1]), _every(_LETTER * longest + 8, cells.wide)):
        x, _ = cells.middle(0, j)
        yield el("text", names[1][j], x=x, y=foot, text_anchor="middle")


def _texts(values: Values, cells: _Cells, written: Callable[[int, int], str]) -> Iterator[Markup]:
    for i, j in np.ndindex(values.shape):
        text = written(i, j)
        if text:
            x, y = cells.middle(i, j)
            look = "cell strong" if abs(values[i, j]) > 0.6 else "cell"
            yield el("text", text, x=x, y=y, text_anchor="middle", class_=look)


def _every(needed: float, there: float) -> int:
    return max(1, int(np.ceil(needed / there)))


def _png(values: Values) -> str:
    """As opaque as the value is large: so it is right on light and on dark ground."""
    known = np.nan_to_num(values)[..., None]
    colour = np.where(known >= 0, _BLUE, _ORANGE)
    alpha = 255 * np.clip(np.abs(known), 0, 1)
    picture = np.concatenate([colour, alpha], axis=-1).round().astype(np.uint8)
    _, encoded = cv2.imencode(".png", picture)
    return data_url("png", encoded.tobytes())


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
