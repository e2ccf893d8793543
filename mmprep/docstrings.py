"""Descriptions of parameters, read from the docstrings that state them."""

import re


def descriptions(docstring: str, block: str) -> dict[str, str]:
    """Name to description in a block of a Google docstring, lines joined.

    Args:
        docstring: Docstring without the indentation of its code, as `inspect.getdoc` gives it.
        block: Title of the block, ``Args`` or ``Attributes``.

    Example:
        >>> descriptions("A shape.\\n\\nArgs:\\n    side: Length in\\n        metres.", "Args")
        {'side': 'Length in metres.'}
    """
    _, _, rest = docstring.partition(f"\n\n{block}:\n")
    lines = re.split(r"^\S", rest, maxsplit=1, flags=re.MULTILINE)[0]
    pairs = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", lines, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in pairs}
