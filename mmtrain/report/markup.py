"""HTML by calls: whatever is not `Markup` already is escaped."""

import html
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

_VOID: Final = frozenset({"br", "image", "img", "meta"})


class Markup(str):
    """Text that is HTML."""


Cell: TypeAlias = "str | None"


def el(tag: str, *children: Cell, **attributes: str | float | None) -> Markup:
    """An element; what is None is left out.

    In names of attributes, underscores stand for hyphens, and one at the end is dropped.
    """
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(_text(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{said}/>")
    return Markup(f"<{tag}{said}>{join(*children)}</{tag}>")


def join(*children: Cell) -> Markup:
    """Children side by side."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else html.escape(_text(child))
            for child in children
            if child is not None
        )
    )


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], words: int = 1) -> Markup:
    """A table whose first ``words`` columns are text and whose others are numbers."""

    def line(tag: str, cells: Sequence[Cell]) -> Markup:
        return el(
            "tr",
            *(el(tag, cell, class_="n" if i >= words else None) for i, cell in enumerate(cells)),
        )

    return el(
        "div", el("table", line("th", head), *(line("td", row) for row in rows)), class_="scroll"
    )


def note(*children: Cell) -> Markup:
    """A paragraph in small muted letters."""
    return el("p", *children, class_="note")


def folded(title: str, *children: Cell) -> Markup:
    """What is seen after a click on ``title``."""
    return el("details", el("summary", title), *children)


def section(anchor: str, title: str, *children: Cell) -> Markup:
    """A part of the page under its title."""
    return el("section", el("h2", title), *children, id=anchor)


def _text(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    # A path may hold bytes that are no UTF-8; the page must still be writable.
    return str(value).encode("utf-8", "replace").decode()
