"""Equations: LaTeX to MathML, which browsers draw without scripts, fonts or network."""

import html
import re
from functools import cache

from latex2mathml.converter import convert

# Marks that pymdownx.arithmatex leaves around LaTeX in its generic form.
_INLINE = re.compile(r'<span class="arithmatex">\\\((.+?)\\\)</span>', re.DOTALL)
_DISPLAY = re.compile(r'<div class="arithmatex">\\\[(.+?)\\\]</div>', re.DOTALL)


@cache
def mathml(latex: str, *, display: bool) -> str:
    """MathML of an equation."""
    made: str = convert(latex.strip(), display="block" if display else "inline")
    return made


def typeset(page: str) -> str:
    """The HTML of a page with MathML in the place of its equations."""
    page = _INLINE.sub(lambda found: mathml(html.unescape(found[1]), display=False), page)
    return _DISPLAY.sub(
        lambda found: (
            f'<div class="equation">{mathml(html.unescape(found[1]), display=True)}</div>'
        ),
        page,
    )
