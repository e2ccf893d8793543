"""A lock, so that one build at a time works on a folder.

A bucket has none and needs none: two builds of one plan write the same bytes.
"""

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
def hold_lock(store: Store) -> Iterator[None]:
    """Locks the output for this process, and removes files that a killed run left half written.

    Raises:
        ConfigError: Another process is building there.
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
            # The file may have been deleted and made anew by another build since it was opened.
            locked = os.fstat(descriptor).st_ino == path.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            locked = False
        if not locked:
            raise ConfigError(f"{store.url}: another mmprep builds there; wait for it to end")
        try:
            for name, _ in list(store.files()):
                if _HALF_WRITTEN.match(name.rpartition("/")[2]):
                    store.delete(name)
            yield
        finally:
            # If no other state is left, the lock file goes too, while it is still locked.
            if [name for name, _ in store.files() if name.startswith(STATE)] == [LOCK]:
                store.delete(LOCK)
    finally:
        os.close(descriptor)
