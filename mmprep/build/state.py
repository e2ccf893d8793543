"""Removal of the files that a build, a repair or a copy left in its output."""

import re
from typing import Final

from mmprep.build.lock import LOCK
from mmprep.format import DATASET, FAILURES, INDEX
from mmprep.format.paths import COPY, PLAN, STATE
from mmprep.manifest import SPLITS
from mmprep.storage.store import Store

_OURS: Final = (DATASET, INDEX, FAILURES)


def clear(store: Store) -> bool:
    """Removes the files of a build at ``store``, and nothing else.

    Returns:
        Whether there was a build.
    """
    names = [name for name, _ in store.files()]
    # Tars alone may belong to another program.
    if not {DATASET, INDEX, PLAN, COPY} & set(names):
        return False
    # An interruption must leave no half data set: `dataset.json` goes first, so that the rest is
    # none, and the index last, so that the next run still sees that there was a build.
    for name in sorted(names, key=lambda name: {DATASET: 0, INDEX: 2}.get(name, 1)):
        folder, _, last = name.rpartition("/")
        if name in _OURS or (folder in SPLITS and re.fullmatch(r"\d{6}\.tar", last)):
            store.delete(name)
    forget_state(store)
    return True


def forget_state(store: Store) -> None:
    """Removes plan, sidecars and journals; `hold_lock` removes its own file."""
    names = [name for name, _ in store.files() if name.startswith(STATE) and name != LOCK]
    # In reverse order: the journal of a repair before the files it names, sidecars before the plan.
    for name in sorted(names, key=lambda name: (name != PLAN, name), reverse=True):
        store.delete(name)
