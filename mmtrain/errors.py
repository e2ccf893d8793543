"""Errors of mmtrain, each with the exit code of the command that meets it.

MmtrainError           exit 1: a failure that has a message instead of a traceback
├── RunError           exit 1: training cannot go on; names the step and the last checkpoint
│   └── Interrupted    exit 1: stopped on request; --resume goes on
├── ConfigError        exit 2: fix the flag or file named in the message
│   └── UnknownName    no such method, curriculum, fusion, encoder or modality
└── DataError          exit 3: names the data set, run or sample, and how to repair it

`ConfigError`, `UnknownName` and `DataError` are those of `mmprep.errors`, and `MmtrainError` is the
root of that tree under this package's name: one `except` also covers errors that come from reading
shards.
"""

from mmprep.errors import ConfigError, DataError, UnknownName
from mmprep.errors import MmprepError as MmtrainError

__all__ = ["ConfigError", "DataError", "Interrupted", "MmtrainError", "RunError", "UnknownName"]


class RunError(MmtrainError):
    """Training cannot go on from here."""


class Interrupted(RunError):
    """Training was asked to stop, and can be resumed."""

    prefix = ""  # The user asked for it, so it is no error.
