"""Lists of a picture, its text and a target in the text (Twitter2015), in both published forms.

A ``.tsv`` has a sample a line: index, label from 0, picture, text, target. A ``.txt`` has four
lines a sample: text, target, label from -1, picture. The place of the target in the text is ``$T$``
in both, and stays.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mmprep.datasets.lists.listed import Lists, files
from mmprep.datasets.lists.text import line_error, lines
from mmprep.datasets.spec import Spec
from mmprep.manifest import SPLITS, Listed

_LINES = 4  # Lines of a sample in a .txt.


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Reads the samples of each split, from whichever form of its list is there.

    Raises:
        ConfigError: A list is missing.
        DataError: A malformed line, or a label that is no class.
    """
    clips: list[Listed] = []
    for split in SPLITS:
        path = lists.need(files(spec, split), spec)
        rows = _rows_of_tsv(path) if path.suffix == ".tsv" else _rows_of_txt(path)
        for number, (line, label, picture, text, target) in enumerate(rows, start=1):
            if not 0 <= label < len(spec.classes):
                raise line_error(path, line, label, f"labels end at {len(spec.classes) - 1}")
            clips.append(
                Listed(
                    # Both forms have the same order, so a sample has one key.
                    key=f"{split}-{number:04d}",
                    label=spec.classes[label],
                    split=split,
                    names={"image": (PurePosixPath(picture).stem,)},
                    extra={"picture": picture},
                    texts={"text": text, "target": target},
                )
            )
    return clips


def _rows_of_tsv(path: Path) -> Iterator[tuple[int, int, str, str, str]]:
    """Yields line number, label, picture, text and target of each sample."""
    for nth, (line, text) in enumerate(lines(path)):
        fields = [field.strip() for field in text.split("\t")]
        # The header of the test list has four names for the five fields of its rows.
        if nth == 0 and not fields[0].isdecimal():
            continue
        if len(fields) != 5 or not (fields[0].isdecimal() and fields[1].isdecimal()):
            raise line_error(path, line, text, "expected index, label, picture, text, target")
        picture, words, target = fields[2:]
        yield line, int(fields[1]), picture, words, target


def _rows_of_txt(path: Path) -> Iterator[tuple[int, int, str, str, str]]:
    """Yields line number, label, picture, text and target of each sample."""
    numbered = list(lines(path))
    for first in range(0, len(numbered), _LINES):
        four = numbered[first : first + _LINES]
        line, text = four[0]
        # Blank lines are skipped above, so one inside a sample shows as a gap.
        if len(four) < _LINES or four[-1][0] - line != _LINES - 1:
            raise line_error(path, line, text, "expected text, target, label, picture, a line each")
        target, label, picture = (words for _, words in four[1:])
        if label not in ("-1", "0", "1"):
            raise line_error(path, four[2][0], label, "expected a label of -1, 0 or 1")
        yield line, int(label) + 1, picture, text, target
