"""HTML as a tree of calls: all text is escaped unless a function of this module returned it."""

import base64
import html
from collections.abc import Collection, Iterable, Sequence
from importlib import resources
from typing import Final, TypeAlias

from mmprep.printable import printable

_VOID: Final = frozenset({"br", "img", "meta"})
# The browser loads nothing from outside the page, whatever the name of a class holds.
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Markup(str):
    """Text that is HTML already, and is not escaped again."""


Child: TypeAlias = "str | Markup | None"


def el(tag: str, *children: Child, **attributes: str | float | None) -> Markup:
    """Returns an element; children and attributes that are None are left out.

    Underscores in the names of attributes become hyphens, and a trailing one is dropped, so that
    ``class_`` and ``text_anchor`` can be written as arguments.

    Example:
        >>> el("p", "a < b", class_="note")
        '<p class="note">a &lt; b</p>'
    """
    pairs = (
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(_text(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    start = f"<{tag}{''.join(pairs)}>"
    return Markup(start if tag in _VOID else f"{start}{join(*children)}</{tag}>")


def join(*children: Child) -> Markup:
    """Concatenates children, and escapes those that are plain text."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else html.escape(_text(child))
            for child in children
            if child is not None
        )
    )


def document(title: str, *content: Child) -> str:
    """Returns a complete page around ``content``, with the style sheet inside."""
    style = resources.files("mmprep.html").joinpath("page.css").read_text(encoding="utf-8")
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", title),
        el("style", Markup(style)),
    )
    body = el("body", el("main", *content))
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def section(title: str, *content: Child, anchor: str | None = None) -> Markup:
    """Returns a section with a heading; links reach it as ``#anchor``."""
    return el("section", el("h2", title), *content, id=anchor)


def note(*content: Child) -> Markup:
    """Returns a paragraph of explanation, in small muted letters."""
    return el("p", *content, class_="note")


def folded(title: str, *content: Child) -> Markup:
    """Hides content until the reader clicks on ``title``."""
    return el("details", el("summary", title), *content)


def tiles(values: Iterable[tuple[str, Child]]) -> Markup:
    """Returns the row of large numbers at the head of a page, each under its name."""
    pairs = (el("div", el("dt", name), el("dd", value)) for name, value in values)
    return el("dl", *pairs, class_="tiles")


def table(
    head: Sequence[Child], rows: Iterable[Sequence[Child]], numbers: Collection[int] | None = None
) -> Markup:
    """Returns a table that scrolls sideways where the screen is too narrow.

    Args:
        head: Titles of the columns.
        rows: Cells, as many in each row as there are columns.
        numbers: Columns that are aligned right, as numbers are; all but the first by default.
    """
    right = range(1, len(head)) if numbers is None else numbers
    look = ["n" if column in right else None for column in range(len(head))]

    def line(tag: str, cells: Sequence[Child], scope: str | None) -> Markup:
        pairs = zip(cells, look, strict=True)
        return el("tr", *(el(tag, cell, scope=scope, class_=c) for cell, c in pairs))

    body = (line("td", row, None) for row in rows)
    return el("div", el("table", line("th", head, "col"), *body), class_="scroll")


def data_url(kind: str, encoded: bytes) -> str:
    """Returns the address of a picture that is stored in the page itself."""
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"


def shorten(text: str, most: int) -> str:
    """Cuts ``text`` to at most ``most`` characters, an ellipsis included."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    # A path may hold bytes that are not UTF-8; the page must still be writable.
    return printable(str(value).encode("utf-8", "replace").decode())
