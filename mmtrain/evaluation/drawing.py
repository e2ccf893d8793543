"""Figures about runs: colours, marks and type, and how a figure becomes a file."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from mmtrain import files
from mmtrain.errors import ConfigError

# The palette of Okabe and Ito, which people of any colour vision tell apart; its yellow is darker
# here, for white paper.
COLOURS: Final = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A800", "#000000"),
)
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
DASHES: Final = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
MUTED: Final = "#5b6472"
GRID: Final = "#dfe3ea"
FORMATS: Final = ("png", "pdf", "svg")
_DPI: Final = 160
_STYLE: Final[Any] = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.edgecolor": "#9aa2b1",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "mmtrain",
    # Names of classes and runs may hold dollars, which are no formulas.
    "text.parse_math": False,
}


def style(number: int) -> dict[str, Any]:
    """Colour and dashes of the line with a number: other dashes for each, other colours for 8."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}


@contextmanager
def figure_style() -> Iterator[None]:
    """Sets the type and the lines of the figures made within."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The font that comes with matplotlib lacks some scripts; a box stands for such a letter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[list[Axes]]]:
    """A figure of ``rows`` x ``columns`` panels, without any of pyplot's global state.

    Args:
        rows: Number of rows.
        columns: Number of columns.
        size: Width and height of a panel with its margins, in inches.
    """
    width, height = columns * size[0], rows * size[1] + 0.45
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False)]


def set_logarithmic(panel: Axes) -> None:
    """Makes the vertical axis logarithmic, with plain numbers: powers of ten are formulas."""
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    low, high = panel.get_ylim()
    if high < 100 * low:
        # Over so short a way there may be one power of ten, or none.
        panel.yaxis.set_minor_formatter(FuncFormatter(_second_or_fifth))
    else:
        panel.yaxis.set_minor_formatter(NullFormatter())


def _second_or_fifth(value: float, _: float) -> str:
    """Text of a tick if it is 2 or 5 times a power of ten."""
    return f"{value:g}" if f"{value:e}"[:4] in ("2.00", "5.00") else ""


def require_format(path: Path) -> None:
    """Refuses a file whose ending is of no format of figures.

    Raises:
        ConfigError: It has another ending; names those that there are.
    """
    if path.suffix[1:].lower() not in FORMATS:
        endings = ", ".join(f".{each}" for each in FORMATS)
        raise ConfigError(f"{path}: a figure's file ends in one of {endings}")


def save(figure: Figure, path: Path) -> None:
    """Writes a figure in the format of the file's ending; a reader never sees half of it."""
    require_format(path)
    kind = path.suffix[1:].lower()
    # Without the date, the same figure is the same file.
    metadata = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, lambda file: figure.savefig(file, format=kind, metadata=metadata))
