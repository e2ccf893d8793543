"""Engines, which carry out the runs of a comparison on one machine or many.

An engine holds no state: each run keeps all of its own in its folder, on a disk that all machines
share, so that any engine goes on with the runs of another.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from mmprep.clusters import load_engine
from mmtrain.comparison.charge import Charge
from mmtrain.config.run import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run.

    Attributes:
        config: Its config.
        folder: Its folder.
    """

    config: TrainConfig
    folder: Path


class Outcome(NamedTuple):
    """End of a run.

    Attributes:
        job: The run.
        error: Reason for which it has no result; None where it has one.
        lost: Whether that lies in a machine and not in the run, which may well end elsewhere.
    """

    job: Job
    error: str | None
    lost: bool = False


class Engine(Protocol):
    """Trains or resumes runs, and yields the outcome of each as it ends, in no order."""

    def __call__(
        self, jobs: Sequence[Job], *, charge: Charge, at_once: int | None
    ) -> Iterator[Outcome]:
        """Carries out ``jobs``; one that fails does not stop the others.

        Args:
            jobs: Runs that are not finished.
            charge: Command that has the folder of all runs; tasks of an earlier one stop.
            at_once: Number of runs at once; None is as many as the engine has room for.

        Raises:
            ConfigError: The engine is not to be had here, or does not know a parameter.
            Interrupted: A signal asked to stop; no task of this command goes on.
        """


ENGINES: Final[Mapping[str, str]] = {
    name: f"{__name__}.{name}:run" for name in ("local", "ray", "slurm")
}


def engine_named(name: str, options: Mapping[str, object] | None = None) -> Engine:
    """Returns the engine ``name``.

    Args:
        name: Name in `ENGINES`.
        options: Keyword arguments of this engine alone, such as ``address`` of ``ray``.

    Raises:
        UnknownName: There is no such engine.
        ConfigError: It needs a package that is not installed.
    """
    engine: Engine = load_engine(name, ENGINES, options)
    return engine
