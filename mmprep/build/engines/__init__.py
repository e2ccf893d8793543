"""Where the tasks of a build run. An engine only runs tasks; all state lies in the output."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Final, Protocol, TypeAlias

from mmprep.build.plan import Task
from mmprep.build.shard import ShardResult
from mmprep.clips.job import Job
from mmprep.errors import ConfigError, UnknownName
from mmprep.failure import Failure

Seen: TypeAlias = Callable[[Failure | None], None]


class Engine(Protocol):
    """Runs tasks and yields their results as they finish, in no order."""

    def __call__(
        self, tasks: Sequence[Task], job: Job, *, workers: int | None, seen: Seen
    ) -> Iterator[ShardResult]:
        """Runs ``tasks``.

        Args:
            tasks: What is left of a plan.
            job: What they share.
            workers: Decoding processes in all; None is one for each core that there is.
            seen: Called after each clip or shard, once for each clip, with its failure if it
                failed, from any thread.
        """


ENGINES: Final[Mapping[str, str]] = {
    "local": "mmprep.build.engines.local:run",
    "ray": "mmprep.build.engines.ray:run",
    "slurm": "mmprep.build.engines.slurm:run",
}
# What an engine is made of, where that is an extra of the same name.
_PACKAGES: Final = {"ray": "ray", "slurm": "submitit"}


def engine(name: str, options: Mapping[str, object] | None = None) -> Engine:
    """The engine ``name`` with ``options`` of its own.

    Raises:
        UnknownName: There is none.
        ConfigError: It needs a package that is not installed.
    """
    if name not in ENGINES:
        raise UnknownName("engine", name, ENGINES)
    if name in _PACKAGES and find_spec(_PACKAGES[name]) is None:
        raise ConfigError(f"--engine {name} needs a package: pip install 'mmprep[{name}]'")
    module, _, function = ENGINES[name].partition(":")
    found: Callable[..., Iterator[ShardResult]] = getattr(import_module(module), function)
    return partial(found, **options) if options else found
