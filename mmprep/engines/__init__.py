"""Where the tasks of a build run. An engine only runs tasks; all state lies in the output."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Final, Protocol, TypeAlias

from mmprep.errors import UnknownName
from mmprep.failure import Failure
from mmprep.job import Job
from mmprep.plan import Task
from mmprep.writer import ShardResult

Seen: TypeAlias = Callable[[Failure | None], None]


class Engine(Protocol):
    """Runs tasks and yields their results as they finish, in no order."""

    def __call__(
        self, tasks: Sequence[Task], job: Job, *, workers: int, seen: Seen
    ) -> Iterator[ShardResult]:
        """``seen`` is called after each clip, with its failure if it failed, from any thread."""


ENGINES: Final[Mapping[str, str]] = {"local": "mmprep.engines.local:run"}


def engine(name: str) -> Engine:
    """The engine ``name``.

    Raises:
        UnknownName: There is none.
    """
    if name not in ENGINES:
        raise UnknownName("engine", name, ENGINES)
    module, _, function = ENGINES[name].partition(":")
    found: Engine = getattr(import_module(module), function)
    return found
