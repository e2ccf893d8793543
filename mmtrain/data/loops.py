"""Refuses the uses of a stream in torch's DataLoader that would go wrong, and names the cure."""

from typing import NoReturn

from torch.utils.data import get_worker_info
from torch.utils.data._utils.collate import default_collate_fn_map

from mmtrain.errors import ConfigError
from mmtrain.types import Batch


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


def refuse_worker_process() -> None:
    """Refuses to stream in a worker process of a DataLoader.

    Each would have a copy of the stream, of which none knows how many visits the others have handed
    out, so that the state could not be saved; and the client of a bucket hangs in a forked one.

    Raises:
        ConfigError: The caller runs in a worker process.
    """
    if get_worker_info() is not None:
        raise ConfigError(
            "a stream reads and decodes in threads of the process that trains, and cannot be "
            "resumed from worker processes; give the DataLoader num_workers=0, and the stream "
            "StreamOptions(workers=...) for the number of threads"
        )
