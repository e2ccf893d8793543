"""A matrix as a picture of colours."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np

from mmprep.html.charts import FOOT, RIGHT, TOP, WIDTH, Values, chart, svg
from mmprep.html.markup import Markup, data_url, el, shorten

_LETTERS: Final = 18
_LETTER: Final = 6.4
_LINE: Final = 13.0
_TALLEST: Final = 230.0
# The first two colours of the style sheet, in OpenCV's order: blue, green, red.
_BLUE: Final = np.array([178, 114, 0])
_ORANGE: Final = np.array([0, 159, 230])


class _Cells(NamedTuple):
    """Left edge of a matrix, and width and height of its cells, in pixels."""

    left: float
    width: float
    height: float

    def text_place(self, row: int, column: int) -> tuple[float, float]:
        """Pixel of the middle of a cell's text, on its base line."""
        return self.left + (column + 0.5) * self.width, TOP + (row + 0.5) * self.height + 4


def heat(
    title: str,
    values: Values,
    names: tuple[Sequence[str], Sequence[str]],
    axes: tuple[str, str],
    text_of: Callable[[int, int], str] | None = None,
    square: bool = False,
) -> Markup:
    """Draws a matrix: 1 is blue, -1 orange, and 0 the colour of the ground.

    Args:
        title: Title of the chart.
        values: (rows, columns) in [-1, 1]; NaN counts as 0.
        names: Names of the rows and of the columns; only every second, third, ... is written
            where there is no room for all.
        axes: Names of the vertical and of the horizontal axis.
        text_of: Text in the cell of a row and a column, for small matrices.
        square: Whether cells are as high as they are wide, for rows and columns of one meaning.
    """
    rows, columns = values.shape
    longest = max((len(shorten(name, _LETTERS)) for name in names[0]), default=0)
    left = 26 + _LETTER * longest
    room = WIDTH - left - RIGHT
    width = room / columns
    height = min(22.0, max(_TALLEST / rows, min(4.0, 2 * _TALLEST / rows)))
    if square:
        width = height = min(width, _TALLEST / rows)
        left += (room - width * columns) / 2
    cells = _Cells(left, width, height)
    across, down = width * columns, height * rows
    place = {"x": left, "y": TOP, "width": across, "height": down}
    middle = TOP + down / 2
    turned = left - _LETTER * longest - 15
    body = [
        el("rect", class_="ground", **place),
        el("image", href=_png(values), preserveAspectRatio="none", **place),
        *_names(names, cells, TOP + down + 14),
        *(_texts(values, cells, text_of) if text_of else ()),
        el("text", axes[1], x=left + across / 2, y=TOP + down + 32, text_anchor="middle"),
        el(
            "text",
            axes[0],
            x=turned,
            y=middle,
            text_anchor="middle",
            transform=f"rotate(-90 {turned:.1f} {middle:.1f})",
        ),
    ]
    return chart(title, svg(body, title, TOP + down + FOOT))


def _names(
    names: tuple[Sequence[str], Sequence[str]], cells: _Cells, foot: float
) -> Iterator[Markup]:
    """Yields the names of as many rows and columns as can be read."""
    for i in range(0, len(names[0]), _stride(_LINE, cells.height)):
        _, y = cells.text_place(i, 0)
        name = shorten(names[0][i], _LETTERS)
        yield el("text", name, x=cells.left - 5, y=y, text_anchor="end")
    longest = max(map(len, names[1]), default=0)
    for j in range(0, len(names[1]), _stride(_LETTER * longest + 8, cells.width)):
        x, _ = cells.text_place(0, j)
        yield el("text", names[1][j], x=x, y=foot, text_anchor="middle")


def _texts(values: Values, cells: _Cells, text_of: Callable[[int, int], str]) -> Iterator[Markup]:
    for i, j in np.ndindex(values.shape):
        text = text_of(i, j)
        if text:
            x, y = cells.text_place(i, j)
            look = "cell strong" if abs(values[i, j]) > 0.6 else "cell"
            yield el("text", text, x=x, y=y, text_anchor="middle", class_=look)


def _stride(needed: float, available: float) -> int:
    return max(1, int(np.ceil(needed / available)))


def _png(values: Values) -> str:
    """Encodes values as colours that are the more opaque, the larger the value.

    So one picture is right on light and on dark ground.
    """
    known = np.nan_to_num(values)[..., None]
    colour = np.where(known >= 0, _BLUE, _ORANGE)
    alpha = 255 * np.clip(np.abs(known), 0, 1)
    picture = np.concatenate([colour, alpha], axis=-1).round().astype(np.uint8)
    _, encoded = cv2.imencode(".png", picture)
    return data_url("png", encoded.tobytes())
