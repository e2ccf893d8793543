"""Signals that ask a command to stop while its runs go on elsewhere."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

STOPPED: Final = "Stopped. The same command goes on from here"
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Calls ``stop`` when a signal asks this process to stop."""
    before: dict[int, Any] = {}
    # Only the main thread may set handlers.
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, lambda *_: stop()) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
