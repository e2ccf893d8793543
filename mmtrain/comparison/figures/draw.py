"""Draws what was asked for, and says why where it cannot."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib

from mmtrain.comparison.figures.catalog import FIGURES
from mmtrain.comparison.figures.drawing import Caption, Drawing, remove, save
from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.comparison.figures.study_data import NothingToDraw, StudyData
from mmtrain.comparison.figures.style import RC
from mmtrain.errors import MmtrainError

log = logging.getLogger(__name__)

Draw: TypeAlias = Callable[[StudyData, FigureRequest], Drawing]


def draw_figures(
    requests: Sequence[FigureRequest], study: StudyData, folder: Path
) -> list[dict[str, Any]]:
    """Writes FOLDER/NAME.{png,pdf,svg,txt} of each figure.

    Returns:
        ``name``, ``kind``, ``width``, ``files`` and ``caption`` of each; ``left_out`` is the reason
        of one that could not be drawn, and None for the others.
    """
    drawn = []
    for request in requests:
        width = request.options.get("width", "page" if request.kind == "classes" else "column")
        width = request.options.get("width", "page" if request.kind == "classes" else "column")
        record: dict[str, Any] = {"name": request.name, "kind": request.kind, "width": width}
        record |= {"files": [], "caption": ""}
        try:
            files, caption = _draw(request, study, folder)
            record |= {"files": files, "caption": str(caption), "left_out": None}
        # Whatever befalls a figure, the tables are worth more.
        except (NothingToDraw, MmtrainError) as error:
            log.warning("figure %s is left out: %s", request.name, error)
            remove(folder, request.name)
            record |= {"left_out": str(error)}
        except Exception as error:
            log.error("figure %s failed", request.name, exc_info=True)
            remove(folder, request.name)
            record |= {"left_out": repr(error)}
        drawn.append(record)
    return drawn


def drawing_of(request: FigureRequest, study: StudyData) -> Drawing:
    """Draws one figure, without writing it.

    Raises:
        NothingToDraw: The runs lack what it shows.
    """
    module, _, function = FIGURES[request.kind].target.partition(":")
    draw: Draw = getattr(import_module(f"{__package__}.{module}"), function)
    with matplotlib.rc_context(RC):
        return draw(study, request)


@contextmanager
def _quiet_fonts() -> Iterator[None]:
    """Keeps the library that puts letters into a PDF from telling each step of it."""
    fonts = logging.getLogger("fontTools")
    before = fonts.level
    fonts.setLevel(logging.WARNING)
    try:
        yield
    finally:
        fonts.setLevel(before)


def _draw(request: FigureRequest, study: StudyData, folder: Path) -> tuple[list[str], Caption]:
    drawing = drawing_of(request, study)
    title = str(request.options.get("title") or study.table["title"] or "Comparison")
    caption = Caption(title=title, text=drawing.text, facts=study.table["facts"])
    with matplotlib.rc_context(RC), _quiet_fonts():
        return save(drawing.figure, caption, folder, request.name), caption
