"""Docstrings as Markdown: names in single backticks become links, code in double stays code."""

import re
from collections.abc import Mapping

_CODE = re.compile(r"``(?P<code>.+?)``|`(?P<name>[^`]+)`", re.DOTALL)
_SPECIAL = re.compile(r"([*_\[\]<>\\])")


def markdown(text: str, links: Mapping[str, str]) -> str:
    """Markdown of a docstring.

    Args:
        text: Docstring: paragraphs, lists with ``-``, and blocks that are indented by four.
        links: Name to the address of its page, for names in single backticks.
    """
    blocks = [_block(block, links) for block in re.split(r"\n\n+", text.strip("\n"))]
    return "\n\n".join(blocks)


def line(text: str, links: Mapping[str, str]) -> str:
    """Markdown of a single paragraph, without breaks."""
    return " ".join(_inline(text, links).split())


def _block(block: str, links: Mapping[str, str]) -> str:
    if block.startswith("    "):
        return block
    if not block.startswith("- "):
        # Markdown begins a list behind a blank line only.
        block = block.replace("\n- ", "\n\n- ", 1)
    return re.sub(r"::\Z", ":", _inline(block, links))


def _inline(text: str, links: Mapping[str, str]) -> str:
    parts, end = [], 0
    for found in _CODE.finditer(text):
        parts += [_SPECIAL.sub(r"\\\1", text[end : found.start()]), _code(found, links)]
        end = found.end()
    return "".join([*parts, _SPECIAL.sub(r"\\\1", text[end:])])


def _code(found: re.Match[str], links: Mapping[str, str]) -> str:
    code = " ".join((found["code"] or found["name"]).split())
    address = links.get(code) if found["name"] else None
    return f"[`{code}`]({address})" if address else f"`{code}`"
