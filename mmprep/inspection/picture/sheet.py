"""The page on which panels are laid out in pixels from the top left; matplotlib draws it."""

import io
from functools import cache
from typing import Final, Protocol

from matplotlib import font_manager, ft2font
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.transforms import IdentityTransform

from mmprep.printable import printable

WIDTH: Final = 1600
LEFT: Final = 76
RIGHT: Final = 40
# Panels fill the column from LEFT; their legends stand in a narrow one on the right.
LEGEND: Final = 170
GAP: Final = 24
CONTENT: Final = WIDTH - LEFT - GAP - LEGEND - RIGHT
HEADING: Final = 34

INK: Final = "#1c2230"
MUTED: Final = "#646c7d"
LINE: Final = "#d5d9e2"
ACCENT: Final = "#2f5fb3"

_DPI: Final = 100
_CHIP: Final = 26
_FAMILY: Final = "DejaVu Sans"  # comes with matplotlib


class Panel(Protocol):
    """One block of the picture, as wide as the sheet."""

    @property
    def height(self) -> float:
        """Height of the panel in pixels."""

    def draw(self, sheet: "Sheet", top: float) -> None:
        """Draws the panel from ``top`` pixels downwards."""


class Sheet:
    """A white page of `WIDTH` pixels, without any of pyplot's global state.

    Args:
        height: Height of the page in pixels.
    """

    def __init__(self, height: float) -> None:
        self._height = height
        self.figure = Figure(figsize=(WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Adds axes whose inner box is given in pixels."""
        bottom = self._height - top - height
        box = (left / WIDTH, bottom / self._height, width / WIDTH, height / self._height)
        return self.figure.add_axes(box)

    def text(
        self,
        left: float,
        top: float,
        text: str,
        *,
        px: float = 14,
        colour: str = INK,
        bold: bool = False,
    ) -> float:
        """Writes ``text`` and returns its width."""
        lines = "\n" in text
        written = self.figure.text(
            left / WIDTH,
            1 - (top if lines else top + px) / self._height,
            drawable(text),
            fontsize=points(px),
            fontfamily=_FAMILY,
            fontweight="bold" if bold else "normal",
            color=colour,
            va="top" if lines else "baseline",  # neighbours stand on one line
            linespacing=1.45,
            parse_math=False,  # a label may hold dollar signs
        )
        return float(written.get_window_extent().width)

    def chip(self, left: float, top: float, text: str, colour: str, fill: str) -> float:
        """Writes ``text`` on a pill filled with ``fill`` and returns the pill's width."""
        side = _CHIP / 2.4
        width = self.text(left + side, top + 5, text, px=13, colour=colour) + 2 * side
        pill = FancyBboxPatch(
            (left, self._height - top - _CHIP),
            width,
            _CHIP,
            boxstyle=f"round,pad=0,rounding_size={_CHIP / 2}",
            facecolor=fill,
            linewidth=0,
            zorder=0,
            transform=IdentityTransform(),
        )
        self.figure.add_artist(pill)
        return width

    def heading(self, top: float, title: str) -> None:
        """Writes a panel's title."""
        self.text(LEFT, top, title, px=16, bold=True)

    def legend(self, top: float, note: str) -> None:
        """Writes a note in the column on the right."""
        self.text(LEFT + CONTENT + GAP, top, note, px=12.5, colour=MUTED)

    def png(self) -> bytes:
        """Returns the page as PNG; the same page gives the same bytes."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()


def points(px: float) -> float:
    """Font size in points for letters of ``px`` pixels."""
    return px * 72 / _DPI


def elide(text: str, most: int) -> str:
    """Puts ``text`` on one line of at most ``most`` letters, with an ellipsis in its middle."""
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    tail = most // 2
    return f"{text[: most - tail - 1]}…{text[-tail:]}"


def size_text(*lengths: int) -> str:
    """Writes lengths with a cross between them: ``257 x 1004``."""
    return " \N{MULTIPLICATION SIGN} ".join(map(str, lengths))


def drawable(text: str) -> str:
    """Replaces letters that the font lacks by a box; matplotlib would warn of each."""
    return "".join(c if c == "\n" or ord(c) in _letters() else "▯" for c in text)


def legible(letter: str) -> str:
    """Returns a letter, or an escape where the font lacks it or it is a control character."""
    if letter in ("\t", "\r"):
        return {"\t": "\\t", "\r": "\\r"}[letter]
    if ord(letter) in _letters() and printable(letter) == letter:
        return letter
    return (
        letter.encode("ascii", "backslashreplace").decode()
        if letter > "\x7f"
        else f"\\x{ord(letter):02x}"
    )


@cache
def _letters() -> frozenset[int]:
    font = ft2font.FT2Font(font_manager.findfont(_FAMILY))
    return frozenset(code for code in font.get_charmap() if code >= 32)
