"""One build at a time on one folder. A bucket needs none: two builds write the same bytes."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mmprep.errors import ConfigError
from mmprep.format.paths import STATE
from mmprep.storage.store import PARTIAL, LocalStore, Store

LOCK: Final = STATE + "lock"
# As `LocalStore.create` names them; a folder that is not ours may hold other partial files.
_HALF_WRITTEN: Final = re.compile(re.escape(PARTIAL) + r"\d+-\d+-")


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Holds the output for this process; what a killed run left half written is removed.

    Raises:
        ConfigError: Another process builds there now.
    """
    if not isinstance(store, LocalStore):
        yield
        return
    path = store.root / LOCK
    with store.errors("write", LOCK):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.fstat(descriptor).st_ino == path.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            held = False
        if not held:
            raise ConfigError(f"{store.url}: another mmprep builds there; wait for it to end")
        try:
            for name, _ in list(store.files()):
                if _HALF_WRITTEN.match(name.rpartition("/")[2]):
                    store.delete(name)
            yield
        finally:
            # With nothing else to remember the lock goes too, while it is still held.
            if [name for name, _ in store.files() if name.startswith(STATE)] == [LOCK]:
                store.delete(LOCK)
    finally:
        os.close(descriptor)
