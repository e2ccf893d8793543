"""HTML as a tree of calls: text is escaped unless it came out of here, so none is forgotten."""

import html
from typing import Final, TypeAlias

_EMPTY: Final = frozenset({"br", "img", "meta"})


class Markup(str):
    """Text that is HTML already."""


Child: TypeAlias = "str | Markup | None"


def el(tag: str, *children: Child, **attributes: str | float | None) -> Markup:
    """One element; children and attributes that are None are left out.

    Underscores in attributes become hyphens, one at the end falls away.

    Example:
        >>> el("p", "a < b", class_="note")
        '<p class="note">a &lt; b</p>'
    """
    pairs = (
        f' {name.rstrip("_").replace("_", "-")}="{_escaped(_plain(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    head = f"<{tag}{''.join(pairs)}>"
    return Markup(head if tag in _EMPTY else f"{head}{join(*children)}</{tag}>")


def join(*children: Child) -> Markup:
    """Children one after the other."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else _escaped(child) for child in children if child
        )
    )


def _plain(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _escaped(text: str) -> str:
    # A file's name may hold bytes that are no UTF-8; the page must still be writable.
    return html.escape(text.encode("utf-8", "replace").decode())
