"""What mmtrain raises, each with the exit code of the command that meets it.

MmtrainError           exit 1: a failure that has a message instead of a traceback
├── RunError           exit 1: training cannot go on; names the step and the last checkpoint
│   └── Interrupted    exit 1: stopped on request; --resume goes on
├── ConfigError        exit 2: fix the flag or file named in the message
│   └── UnknownName    no such method, curriculum, fusion, encoder or modality
└── DataError          exit 3: names the data set, run or sample, and how to repair it

What reading shards raises is `mmprep.errors`, with the same exit codes.
"""

import difflib
from collections.abc import Iterable


class MmtrainError(Exception):
    """Anything that ends a command with a message instead of a traceback."""

    exit_code = 1


class RunError(MmtrainError):
    """Training cannot go on from here."""


class Interrupted(RunError):
    """Training was asked to stop, and can be resumed."""


class ConfigError(MmtrainError):
    """The request cannot be carried out as it stands."""

    exit_code = 2


class UnknownName(ConfigError):
    """A name that is in no catalog; the message offers the nearest."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names) or names
        super().__init__(f"no {what} {name!r}; did you mean {', '.join(near)}?")


class DataError(MmtrainError):
    """A data set or a run on disk is wrong."""

    exit_code = 3
