"""Texts of a sample, wrapped to the width of the sheet, and the questions about its clip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from mmprep.inspection.picture.sheet import (
    ACCENT,
    CONTENT,
    GAP,
    HEADING,
    LEFT,
    MUTED,
    Sheet,
    elide,
    legible,
)
from mmprep.inspection.picture.view import Asked, View

_PX: Final = 16.0
_LINE: Final = 24.0
# Letters of a line; most are narrower than they are high.
_WIDTH: Final = int((CONTENT + GAP) / (0.61 * _PX))
_MOST: Final = 14
_FOOT: Final = 20


@dataclass(frozen=True, kw_only=True)
class TextPanel:
    """A panel with one text.

    Args:
        title: Heading of the panel.
        text: The text.
    """

    title: str
    text: str

    @classmethod
    def of(cls, view: View, part: str) -> Self:
        """Returns the panel of the part ``part`` of a sample."""
        return cls(title=part.capitalize(), text=view.text(part))

    @property
    def lines(self) -> list[str]:
        """Lines as they are drawn; a note takes the place of those beyond the last."""
        lines = [
            line for text in self.text.split("\n") for line in wrapped(list(map(legible, text)))
        ]
        if len(lines) <= _MOST:
            return lines
        return [*lines[: _MOST - 1], f"… {len(lines) - _MOST + 1:,} more lines"]

    @property
    def height(self) -> float:
        """Height of the panel in pixels."""
        return HEADING + max(2, len(self.lines)) * _LINE + _FOOT

    def draw(self, sheet: Sheet, top: float) -> None:
        """Draws the panel from ``top`` pixels downwards."""
        sheet.heading(top, self.title)
        sheet.legend(top + HEADING, self._note())
        if not self.text.strip():
            sheet.text(LEFT, top + HEADING, "(no letters)", px=_PX, colour=MUTED)
        for i, line in enumerate(self.lines):
            sheet.text(LEFT, top + HEADING + i * _LINE, line, px=_PX)

    def _note(self) -> str:
        notes = [f"{len(self.text):,} characters", f"{len(self.text.encode()):,} bytes"]
        if any(letter != "\n" and legible(letter) != letter for letter in self.text):
            notes.append("\\: not in the font")
        return "\n".join(notes)


@dataclass(frozen=True, kw_only=True)
class QuestionPanel:
    """A panel with the questions about a clip, their answers and types.

    Args:
        questions: The questions.
    """

    questions: Sequence[Asked]

    @property
    def height(self) -> float:
        """Height of the panel in pixels."""
        return HEADING + max(2, len(self._shown)) * _LINE + _FOOT

    @property
    def _shown(self) -> Sequence[Asked]:
        if len(self.questions) <= _MOST:
            return self.questions
        # The sample's own one, wherever it stands.
        ranked = sorted(range(len(self.questions)), key=lambda i: (not self.questions[i].own, i))
        return [self.questions[i] for i in sorted(ranked[:_MOST])]

    def draw(self, sheet: Sheet, top: float) -> None:
        """Draws the panel from ``top`` pixels downwards."""
        sheet.heading(top, "Questions")
        shown, count = self._shown, len(self.questions)
        note = f"{count} questions" if len(shown) == count else f"{len(shown)} of {count} questions"
        sheet.legend(top + HEADING, f"{note}\nbold: of this sample")
        for i, asked in enumerate(shown):
            place = top + HEADING + i * _LINE
            text = "".join(map(legible, elide(asked.text, 90)))
            width = sheet.text(LEFT, place, elide(text, 110), px=_PX, bold=asked.own)
            left = LEFT + width + GAP
            left += sheet.text(left, place, elide(asked.answer, 30), px=_PX, colour=ACCENT) + GAP
            # On one line with the larger letters.
            sheet.text(left, place + _PX - 12.5, elide(asked.group, 30), px=12.5, colour=MUTED)


def wrapped(letters: Sequence[str], width: int = _WIDTH) -> Iterator[str]:
    """Yields lines of at most ``width``, which end at a blank where there is one.

    Args:
        letters: Letters, or escapes in their place, none of which is broken.
        width: Length of the longest line.
    """
    begin = length = 0
    blank = -1
    for at, letter in enumerate(letters):
        length += len(letter)
        if letter == " ":
            # It may be the first letter too many, since it is not drawn at a line's end.
            blank = at
        if length > width and at > begin:
            end = blank if blank > begin else at
            yield "".join(letters[begin:end])
            begin = end + (end == blank)
            length = sum(map(len, letters[begin : at + 1]))
    yield "".join(letters[begin:])
