"""The place of raw clips: a folder, or a prefix of a bucket."""

from pathlib import Path
from typing import TypeAlias

# A folder, or the URL of a bucket's prefix.
Raw: TypeAlias = Path | str


def raw_at(text: str) -> Raw:
    """Place that ``text``, a folder or a URL, names in a command or a plan."""
    return text if "://" in text else Path(text)
