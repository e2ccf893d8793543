"""The protocol of a logger, and what it is told of its run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The run of a logger.

    Attributes:
        folder: Folder of the run.
        name: Last parts of its path, which name it among others.
        config: Settings by name, such as ``optimizer.lr``, as text or number.
        id: Name that the logger gave the run before, when a resumed run continues; else None.
        epochs: Number of epochs that the logger has had before.
    """

    folder: Path
    name: str
    config: Mapping[str, str | int | float | bool | None]
    id: str | None = None
    epochs: int = 0


class Logger(Protocol):
    """Takes the figures of one run, in a thread of its own; it may wait, and it may fail.

    A module of this folder has a function ``start(subject)`` that makes one.

    Attributes:
        id: Name by which the logger finds the run again.
    """

    id: str

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Takes figures of an epoch, counted from 1."""

    def close(self, outcome: str) -> None:
        """Ends the run there as ``finished``, ``stopped`` or ``failed``."""


class StepLogger:
    """Base of loggers whose library has runs that take figures by step.

    Args:
        run: Run, as the library's ``init`` gives it.
        id: Name of the run there.
    """

    def __init__(self, run: Any, id: str) -> None:
        self.run, self.id = run, id

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Takes figures of an epoch, counted from 1."""
        self.run.log(dict(values), step=epoch)
