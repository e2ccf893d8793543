"""Engines, which run the tasks of a build on one machine or many.

An engine holds no state: all of it lies in the output, so that any engine continues any build.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from mmprep.build.plan import Task
from mmprep.build.shard import ShardResult
from mmprep.clips.job import Job
from mmprep.clusters import load_engine
from mmprep.failure import Failure

OnClip: TypeAlias = Callable[[Failure | None], None]


class Engine(Protocol):
    """Runs tasks and yields their results as they finish, in no order."""

    def __call__(
        self, tasks: Sequence[Task], job: Job, *, workers: int | None, on_clip: OnClip
    ) -> Iterator[ShardResult]:
        """Runs ``tasks``.

        Args:
            tasks: Tasks of a plan that are not done.
            job: Settings that all tasks share.
            workers: Number of decoding processes; None is one for each core.
            on_clip: Function called once for each clip, with its failure or None, from any thread;
                an engine may call it for all clips of a shard when the shard is done.
        """


ENGINES: Final[Mapping[str, str]] = {
    "local": "mmprep.build.engines.local:run",
    "ray": "mmprep.build.engines.ray:run",
    "slurm": "mmprep.build.engines.slurm:run",
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
