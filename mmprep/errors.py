"""Exceptions of mmprep, each with the exit code of the command that it ends.

MmprepError
├── ConfigError        exit 2: fix the flag or file named in the message
│   └── UnknownName    no such data set, part, recipe or engine
├── DataError          exit 3: names the list, shard or sample, and how to repair it
└── StoreError         exit 1: the disk or bucket refused; finished files stay whole

A clip that gives no sample raises no exception in a build: it becomes a `Failure`, see
`mmprep.failure`.
"""

import difflib
from collections.abc import Iterable


class MmprepError(Exception):
    """Error that ends a command with a message instead of a traceback."""

    exit_code = 1


class ConfigError(MmprepError):
    """A request that cannot be carried out as it stands."""

    exit_code = 2


class UnknownName(ConfigError):
    """A name that is in no catalog; the message offers the nearest.

    Args:
        what: Kind of thing that was looked for, such as ``data set``.
        name: Name that was given.
        known: Names that exist.
    """

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names) or names
        super().__init__(f"no {what} {name!r}; did you mean {', '.join(near)}?")


class DataError(MmprepError):
    """An annotation list, a manifest or a data set on disk is damaged or malformed."""

    exit_code = 3


class StoreError(MmprepError):
    """Reading from or writing to a disk or bucket failed."""

    exit_code = 1
