"""What a build leaves in its output while it runs, and its removal."""

import re
from typing import Final

from mmprep.build.lock import LOCK
from mmprep.format import DATASET, FAILURES, INDEX
from mmprep.format.paths import COPY, PLAN, STATE
from mmprep.manifest import SPLITS
from mmprep.storage.store import Store

_OURS: Final = (DATASET, INDEX, FAILURES)


def clear(store: Store) -> bool:
    """Removes what a build made at ``store``, and nothing else; says whether there was a build."""
    names = [name for name, _ in store.files()]
    # Shards alone may be those of another program.
    if not {DATASET, INDEX, PLAN, COPY} & set(names):
        return False
    # Should this be interrupted: without its description the rest is no data set, and by index or
    # plan the next run sees that there was a build.
    for name in sorted(names, key=lambda name: {DATASET: 0, INDEX: 2}.get(name, 1)):
        folder, _, last = name.rpartition("/")
        if name in _OURS or (folder in SPLITS and re.fullmatch(r"\d{6}\.tar", last)):
            store.delete(name)
    forget_state(store)
    return True


def forget_state(store: Store) -> None:
    """Removes plan and sidecars; the lock goes when the build lets go of it."""
    names = [name for name, _ in store.files() if name.startswith(STATE) and name != LOCK]
    # Backwards: a repair's journal before what it names, and the sidecars before their plan.
    for name in sorted(names, key=lambda name: (name != PLAN, name), reverse=True):
        store.delete(name)
