"""Lists of ``<Class>/<file> [number]``, with a list that numbers the classes from 1 (UCF-101)."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mmprep.datasets.lists.listed import Lists, files, option
from mmprep.datasets.lists.text import line_error, lines
from mmprep.datasets.spec import Spec
from mmprep.manifest import SPLITS, Listed, safe_key


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Reads the clips of each split; the folder is the label, and a number has to agree with it.

    Raises:
        ConfigError: A list is missing.
        DataError: A malformed line, an unknown class, a number that is not its class's.
    """
    numbers = _numbers(lists.need(files(spec, "classes"), spec))
    return [
        clip
        for split in SPLITS
        if files(spec, split)
        for clip in _clips(lists.need(files(spec, split), spec), split, numbers, spec)
    ]


def _numbers(path: Path) -> dict[str, int]:
    numbers = {}
    for line, text in lines(path):
        number, _, name = text.partition(" ")
        if not number.isdecimal() or not name.strip():
            raise line_error(path, line, text, "expected <number> <class>")
        numbers[name.strip()] = int(number)
    return numbers


def _clips(path: Path, split: str, numbers: dict[str, int], spec: Spec) -> Iterator[Listed]:
    group = re.compile(option(spec, "group_pattern", "(.*)"))
    for line, text in lines(path):
        name, _, number = text.partition(" ")
        place = PurePosixPath(name)
        label, stem = place.parent.name, place.stem
        if label not in numbers:
            raise line_error(
                path, line, text, "expected <class>/<file>, of a class in the list of classes"
            )
        if number.strip() and number.strip() != str(numbers[label]):
            raise line_error(path, line, text, f"class {label} has the number {numbers[label]}")
        match = group.match(stem)
        yield Listed(
            key=safe_key(stem),
            label=label,
            split=split,
            names={"video": (stem,)},
            extra={"group": match[1] if match else stem},
        )
