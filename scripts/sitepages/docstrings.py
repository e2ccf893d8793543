"""Extension of Griffe, which reads the docstrings of the reference."""

import re
from typing import Any

import griffe

# Griffe takes a section ``Example:`` for an admonition, whose prompts Markdown would quote.
_EXAMPLE = re.compile(r"^Example:(?=\n\s+>>>)", re.MULTILINE)


class Examples(griffe.Extension):
    """Shows examples with prompts as code."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Renames the section of an object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub("Examples:", obj.docstring.value)
