"""Lists of one Python list a line, ``['id', 'text', label]`` (sarcasm in tweets with pictures).

The lines are literals, not JSON, and nothing of them is executed. A second label may follow the
first; the last one counts, unless ``lists.label`` names the place of another.
"""

import ast
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmprep.datasets.lists.listed import Lists, files, option
from mmprep.datasets.lists.text import line_error, lines
from mmprep.datasets.spec import Spec
from mmprep.manifest import SPLITS, Listed, safe_key

log = logging.getLogger(__name__)

_EXPECTED = "expected ['id', 'text', label] with labels of 0 and above"


@dataclass(frozen=True)
class _Line:
    number: int
    name: str
    text: str
    labels: tuple[int, ...]


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Reads the samples of each split, without those that have one of the words ``lists.drop``.

    Raises:
        ConfigError: A list is missing.
        DataError: A malformed line, or a label that is no class.
    """
    return [
        clip
        for split in SPLITS
        for clip in _clips(lists.need(files(spec, split), spec), split, spec)
    ]


def _clips(path: Path, split: str, spec: Spec) -> Iterator[Listed]:
    words = frozenset(option(spec, "drop", []))
    place = int(option(spec, "label", -1.0))
    rows = list(_rows(path))
    chosen = [row for row in rows if words.isdisjoint(row.text.split())]
    if dropped := len(rows) - len(chosen):
        log.info(
            "%s: %d of %d lines of %s have a word of lists.drop and are left out",
            spec.name,
            dropped,
            len(rows),
            path.name,
        )
    for row in chosen:
        if not -len(row.labels) <= place < len(row.labels):
            raise line_error(path, row.number, row.labels, f"no label at place {place}")
        if row.labels[place] >= len(spec.classes):
            raise line_error(path, row.number, row.labels, f"labels end at {len(spec.classes) - 1}")
        yield Listed(
            key=safe_key(row.name),
            label=spec.classes[row.labels[place]],
            split=split,
            names={"image": (row.name,)},
            texts={"text": row.text},
        )


def _rows(path: Path) -> Iterator[_Line]:
    for number, line in lines(path):
        try:
            name, text, *labels = ast.literal_eval(line)
        # The last two are for hostile lines, such as a thousand brackets.
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            raise line_error(path, number, line, _EXPECTED) from error
        plain = isinstance(name, str) and isinstance(text, str)
        if not (plain and labels and all(type(each) is int and each >= 0 for each in labels)):
            raise line_error(path, number, line, _EXPECTED)
        yield _Line(number, name, text, tuple(labels))
