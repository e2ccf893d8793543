"""Exceptions of mmprep, each with the exit code of the command that it ends.

MmprepError
├── ConfigError        exit 2: fix the flag or file named in the message
│   └── UnknownName    no such data set, part, recipe or engine
├── DataError          exit 3: names the list, shard or sample, and how to repair it
└── StoreError         exit 1: the disk or bucket refused; finished files stay whole

A clip that gives no sample raises no exception in a build: it becomes a `Failure`, see
`mmprep.failure`. mmtrain shares the root, `ConfigError` and `UnknownName`, see `mmtrain.errors`.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

_NAMES_SHOWN: Final = 10


class MmprepError(Exception):
    """Error that ends a command with a message instead of a traceback."""

    exit_code = 1
    prefix = "Error: "


class ConfigError(MmprepError):
    """A request that cannot be carried out as it stands."""

    exit_code = 2


class UnknownName(ConfigError):
    """A name that is in no catalog.

    The message offers the nearest names or, where none is near, the names that there are.

    Args:
        kind: Noun for the thing that was named, such as ``method``.
        name: Name as it was given.
        known: Names that would have been right.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted({each for each in known if each})
        # Names differ from ours by case as often as by a letter.
        by_lower = {each.lower(): each for each in names}
        near = [by_lower[each] for each in difflib.get_close_matches(name.lower(), by_lower)]
        super().__init__(f"no {kind} {name!r}; {_offer(near, names)}")


class DataError(MmprepError):
    """An annotation list, a manifest or a data set on disk is damaged or malformed."""

    exit_code = 3


class StoreError(MmprepError):
    """Reading from or writing to a disk or bucket failed."""

    exit_code = 1


def _offer(near: Sequence[str], names: Sequence[str]) -> str:
    if near:
        return f"did you mean {', '.join(near)}?"
    if not names:
        return "there are none"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"there are: {', '.join(names[:_NAMES_SHOWN])}{more}"
