"""Where raw clips lie: a folder, or a prefix of a bucket."""

from pathlib import Path
from typing import TypeAlias

# A folder, or the URL of a bucket's prefix.
Raw: TypeAlias = Path | str


def raw_at(text: str) -> Raw:
    """The place that a command or a plan names."""
    return text if "://" in text else Path(text)
