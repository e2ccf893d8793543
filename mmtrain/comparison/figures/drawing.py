"""A drawn figure, its files, and the caption that goes with them."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from matplotlib.figure import Figure

from mmtrain import files

FORMATS: Final = ("png", "pdf", "svg")
CAPTION: Final = "txt"


class Drawing(NamedTuple):
    """A figure, and what it shows in a sentence or two."""

    figure: Figure
    text: str


@dataclass(frozen=True, kw_only=True)
class Caption:
    """Text of a figure.

    Attributes:
        title: First sentence.
        text: Explanation of marks and lines.
        facts: Name of each fact about the origin, such as ``data root``, to its text.
    """

    title: str
    text: str
    facts: Mapping[str, str]

    def __str__(self) -> str:
        facts = "; ".join(f"{name}: {value}" for name, value in self.facts.items())
        return f"{self.title.rstrip('.')}. {self.text} {facts[:1].upper()}{facts[1:]}."


def save(figure: Figure, caption: Caption, folder: Path, name: str) -> list[str]:
    """Writes FOLDER/NAME.{png,pdf,svg,txt}; the pictures carry the caption too.

    Returns:
        The names of the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for kind in FORMATS:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata=_metadata(kind, caption))
        names.append(_write(folder / f"{name}.{kind}", buffer.getvalue()))
    names.append(_write(folder / f"{name}.{CAPTION}", f"{caption}\n".encode()))
    return names


def remove(folder: Path, name: str) -> None:
    """Removes the files of a figure that cannot be drawn any more, if there are any."""
    for kind in (*FORMATS, CAPTION):
        (folder / f"{name}.{kind}").unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> str:
    files.replace(path, lambda file: file.write(content))
    return path.name


def _metadata(kind: str, caption: Caption) -> dict[str, Any]:
    """Caption in the fields that a format has; without a date, the same data give the same file."""
    facts = "; ".join(f"{name}: {value}" for name, value in caption.facts.items())
    if kind == "png":
        return {"Title": caption.title, "Description": str(caption), "Source": facts}
    if kind == "pdf":
        subject = {"Title": caption.title, "Subject": str(caption), "Keywords": facts}
        return {**subject, "Creator": "mmtrain", "CreationDate": None}
    return {"Title": caption.title, "Description": str(caption), "Source": facts, "Date": None}
