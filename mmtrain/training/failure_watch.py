"""A thread that ends this rank when another one has failed, whatever this one is waiting for."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from torch.distributed.distributed_c10d import Store

log = logging.getLogger(__name__)

FAILURE: Final = "mmtrain/failure"
_EVERY_S: Final = 1.0
_GRACE_S: Final = 15.0


@contextmanager
def watching_for_failure(store: Store, rank: int) -> Iterator[None]:
    """Watches the store for the message of a rank that has failed.

    Mostly the rank itself notices, for its next message to the others is refused, and it ends as it
    should. It may instead be waiting for its GPU, where a kernel of NCCL waits for the rank that is
    gone. Then nothing reaches it, and this thread ends the process; checkpoints are replaced whole,
    so that no moment is a bad one.

    Args:
        store: Store of the ranks.
        rank: Number of this process, whose own message does not count.
    """
    done = threading.Event()
    thread = threading.Thread(
        target=_watch, args=(store, rank, done), name="mmtrain-failure-watch", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _watch(store: Store, rank: int, done: threading.Event) -> None:
    try:
        while not store.check([FAILURE]):
            if done.wait(_EVERY_S):
                return
        message: bytes = store.get(FAILURE)
    except RuntimeError:
        return  # The store is gone with the process that held it; nothing more can be learnt.
    if not done.wait(_GRACE_S):
        log.error("%s; rank %d is waiting for it and ends", message.decode(), rank)
        logging.shutdown()
        os._exit(1)
