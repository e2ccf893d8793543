"""Pause of Python's search for circular garbage, while millions of objects without it are made."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Runs a block, or a function that it decorates, without collections of garbage.

    A plan of a hundred thousand clips is a million objects, all of them wanted. Each collection
    would visit them all again, which takes half of the time. Only circles must wait: whatever else
    is given up is freed at once, as ever.
    """
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()
