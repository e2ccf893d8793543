"""The stream in loaders of other people: its share in their worker processes, and what goes wrong.

torch's DataLoader asks its worker processes for batches in turn, and hands the batches on in that
order. A stream in worker w of W therefore makes the batches w, w + W, w + 2 W, ..., so that all of
them together give the epoch in its order, and each keeps a position of its own. Only a loader that
saves the positions of its workers can be resumed: torchdata's StatefulDataLoader.
"""

import mmap
import sys
from multiprocessing.context import get_spawning_popen
from typing import Any, NamedTuple, NoReturn

from torch.utils.data import get_worker_info
from torch.utils.data._utils.collate import default_collate_fn_map

from mmtrain.errors import ConfigError
from mmtrain.types import Batch


class WorkerPlace(NamedTuple):
    """A worker process among those of its loader; the process that trains is the only one."""

    number: int = 0
    workers: int = 1


def worker_place() -> WorkerPlace:
    """Place of this process."""
    info = get_worker_info()
    return WorkerPlace() if info is None else WorkerPlace(info.id, info.num_workers)


class SharedFlag:
    """A flag that worker processes raise for the process that they come from.

    Raised as well when it is pickled for a worker: a process that is not forked shares no memory.
    """

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def __bool__(self) -> bool:
        return self._byte[0] != 0

    def set(self, raised: bool) -> None:
        """Raises or lowers the flag."""
        self._byte[0] = int(raised)

    def __reduce__(self) -> tuple[type["SharedFlag"], tuple[()]]:
        if get_spawning_popen() is not None:
            self.set(True)
        return SharedFlag, ()


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
