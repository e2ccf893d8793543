"""Looks of figures for print: sizes, Okabe and Ito's colours, dashes, marks and hatches.

A number decides colour, dashes and mark at once, so that figures can be read without colour too.
"""

from typing import Any, Final, NamedTuple

from matplotlib.figure import Figure

# Inches: a column and the text of a page with two columns.
WIDTHS: Final = {"column": 3.5, "page": 7.16}
# Okabe and Ito's eight without yellow, which white paper swallows; black is the baseline's.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BLACK: Final = "#000000"
GREY: Final = "#8A8A8A"
DASHES: Final[tuple[Any, ...]] = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), "-")
MARKS: Final = ("s", "^", "D", "v", "P", "X", "<", ">", "p", "*", "h")
HATCHES: Final = ("", "////", "....", "xxxx", "\\\\\\\\", "++++", "oo")
# Of more lines, nobody finds one.
MOST_LINES: Final = 12

RC: Final[Any] = {  # To mypy, each of its keys is a type of its own.
    "font.family": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "legend.columnspacing": 1.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.6,
    "hatch.linewidth": 0.5,
    "savefig.dpi": 300,
    # Letters as such: journals refuse the outlines of Type 3.
    "pdf.fonttype": 42,
    "svg.hashsalt": "mmtrain",
}


class Look(NamedTuple):
    """How a row is drawn, wherever it is drawn in a figure."""

    colour: str
    dashes: Any
    mark: str
    hatch: str


def looks(labels: list[str], baseline: str | None) -> dict[str, Look]:
    """Label to its look; the baseline is black and has no dashes."""
    found: dict[str, Look] = {}
    for label in labels:
        number = len(found) - (baseline in found)
        found[label] = (
            Look(BLACK, "-", "o", "")
            if label == baseline
            else Look(
                COLOURS[number % len(COLOURS)],
                DASHES[number % len(DASHES)],
                MARKS[number % len(MARKS)],
                HATCHES[(1 + number) % len(HATCHES)],
            )
        )
    return found


def blank(width: str, height: float) -> Figure:
    """An empty figure of so many inches of height, which arranges what it holds."""
    figure = Figure(figsize=(WIDTHS[width], height), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.03, w_pad=0.03)  # type: ignore[union-attr, call-arg]
    return figure


def height_of(lines: int, others: float = 0.55) -> float:
    """Height in inches of a figure with so many lines of text below each other."""
    return others + 0.165 * max(lines, 3)
