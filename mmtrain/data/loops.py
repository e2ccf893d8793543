"""The stream in loaders of other people: its share in their worker processes, and what goes wrong.

torch's DataLoader asks its worker processes for batches in turn, and hands the batches on in that
order. A stream in worker w of W therefore makes the batches w, w + W, w + 2 W, ..., so that all of
them together give the epoch in its order, and each keeps a position of its own. Only a loader that
saves the positions of its workers can be resumed: torchdata's StatefulDataLoader.
"""

import mmap
import sys
from multiprocessing.context import get_spawning_popen
from typing import Any, Final, NamedTuple, NoReturn

from torch.utils.data import get_worker_info
from torch.utils.data._utils.collate import default_collate_fn_map

from mmtrain.errors import ConfigError
from mmtrain.types import Batch

_MOST_WORKERS: Final = 4096


class WorkerPlace(NamedTuple):
    """A worker process among those of its loader; the process that trains is the only one."""

    number: int = 0
    workers: int = 1


def worker_place() -> WorkerPlace:
    """Place of this process."""
    info = get_worker_info()
    return WorkerPlace() if info is None else WorkerPlace(info.id, info.num_workers)


class Copies:
    """The worker processes that have iterated over copies of a stream since its epoch was begun.

    Forked workers share the memory in which each leaves its mark. Others get a copy that is pickled
    once for each, in the order of their numbers, and the pickling is counted.
    """

    def __init__(self, number: int | None = None) -> None:
        self._marks = mmap.mmap(-1, _MOST_WORKERS)
        self._pickled, self._number = 0, number

    def __bool__(self) -> bool:
        return self._pickled > 0 or self._marks.find(b"\1") >= 0

    def clear(self) -> None:
        """Forgets all: an epoch is begun."""
        self._pickled, self._marks[:] = 0, bytes(_MOST_WORKERS)

    def add(self, place: WorkerPlace) -> bool:
        """Notes the worker process at ``place``; False if it was there before in this epoch."""
        own = place.number % _MOST_WORKERS
        new = not self._marks[own] and self._number in (None, place.number)
        self._marks[own] = 1
        return new

    def __reduce__(self) -> tuple[type["Copies"], tuple[int | None]]:
        if get_spawning_popen() is None:
            return Copies, (None,)
        self._pickled += 1
        return Copies, (self._pickled - 1,)


def refuse_collating() -> None:
    """Makes torch's default collation refuse batches of ours, with the reason.

    A stream cannot see how a DataLoader will use it, and collation of dataclasses fails in a way
    that helps nobody. The table is torch's documented place for types of one's own.
    """
    default_collate_fn_map[Batch] = _refuse_batches


def _refuse_batches(*_: object, **__: object) -> NoReturn:
    raise ConfigError(
        "the stream gives whole batches, which a DataLoader would join again; give the DataLoader "
        "batch_size=None, and the stream the size of the batches"
    )


def refuse_dispatching() -> None:
    """Refuses to be iterated over by the loader of `accelerate` that slices batches for its ranks.

    It is what `Accelerator.prepare` makes of a loader over an iterable data set. It knows tensors
    in tuples and mappings only, and would take whole batches apart that the stream has dealt.

    Raises:
        ConfigError: Such a loader asks for the batches.
    """
    if "accelerate" not in sys.modules:
        return
    frame: Any = sys._getframe()
    while frame is not None:
        if type(frame.f_locals.get("self")).__name__ == "DataLoaderDispatcher":
            raise ConfigError(
                "the stream deals its batches to the ranks itself: prepare the model and the "
                "optimizer only, and give the stream Share(rank=accelerator.process_index, "
                "ranks=accelerator.num_processes)"
            )
        frame = frame.f_back


def refuse_worker_process() -> None:
    """Refuses to stream in a worker process of a DataLoader.

    Each would have a copy of the stream and give all of it.

    Raises:
        ConfigError: The caller runs in a worker process.
    """
    if get_worker_info() is not None:
        raise ConfigError(
            "a stream of foreign shards reads and decodes in threads of the process that trains; "
            "give the DataLoader num_workers=0, and the stream StreamOptions(workers=...) for the "
            "number of threads"
        )
