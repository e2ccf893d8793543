"""The whole picture: the panels of a sample, one below the other."""

from collections.abc import Iterator
from typing import Final

from mmprep.format.answer import QUESTION
from mmprep.format.parts import PARTS
from mmprep.inspection.picture.features import SequencePanel
from mmprep.inspection.picture.header import Header
from mmprep.inspection.picture.motion import FlowPanel
from mmprep.inspection.picture.segments import SegmentPanel
from mmprep.inspection.picture.sheet import Panel, Sheet
from mmprep.inspection.picture.sound import SpectrogramPanel
from mmprep.inspection.picture.strip import Strip
from mmprep.inspection.picture.view import View
from mmprep.inspection.picture.words import QuestionPanel, TextPanel
from mmprep.shards import Shards

_EDGE: Final = 30


def draw(shards: Shards, key: str) -> bytes:
    """Returns a PNG, 1600 pixels wide, of every part of the sample ``key``.

    Example:
        Path("sample.png").write_bytes(draw(Shards(open_store("shards")), "k0042"))

    Raises:
        UnknownName: There is no such sample; the message offers the nearest keys.
        DataError: A part cannot be decoded or does not match its checksum.
    """
    panels = list(_panels(View.of(shards, key)))
    sheet = Sheet(2 * _EDGE + sum(panel.height for panel in panels))
    top: float = _EDGE
    for panel in panels:
        panel.draw(sheet, top)
        top += panel.height
    return sheet.png()


def _panels(view: View) -> Iterator[Panel]:
    yield Header(view=view)
    if "frames" in view.members:
        yield Strip.of(view, "frames", f"at {view.config.frames.fps:g} fps")
    if "spectrogram" in view.members:
        yield SpectrogramPanel.of(view)
    if "flow" in view.members:
        yield FlowPanel.of(view)
    if "difference" in view.members:
        yield Strip.of(view, "difference", "to the next picture\ngrey: no change")
    if "depth" in view.members:
        yield Strip.of(view, "depth")
    if len(view.target) > 1:
        yield SegmentPanel.of(view)
    if view.questions:
        yield QuestionPanel(questions=view.questions)
    for part in view.members:
        if part == QUESTION and view.questions:
            continue
        if PARTS[part].drawing == "text":
            yield TextPanel.of(view, part)
        elif PARTS[part].drawing == "sequence":
            yield SequencePanel.of(view, part)
