"""`progress.json`: where a run stands within its epoch, for whoever looks from outside.

It is there while the run trains, and stays behind where the process was killed. Nothing in it names
the machine.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

PROGRESS: Final = "progress.json"
EVERY_S: Final = 5.0


class Beacon:
    """Writes progress.json every few seconds, in a thread; a `Watch`.

    Args:
        folder: Folder of the run.
        epochs: Number of epochs of the run.
        every_s: Seconds between two writes.
    """

    def __init__(self, folder: Path, epochs: int, every_s: float = EVERY_S) -> None:
        self._path, self._epochs, self._every_s = folder / PROGRESS, epochs, every_s
        self._aside = folder / f".{PROGRESS}.partial"
        self._state: dict[str, Any] = {"epoch": 0, "step": 0, "steps": 0, "line": {}}
        self._begin: tuple[float, float] | None = None  # Epochs that were done, and when.
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._shine, name="beacon", daemon=True)
        self._thread.start()

    def step(self, epoch: int, step: int, steps: int, measures: Mapping[str, Any], /) -> None:
        """Takes note that a step is done."""
        if self._begin is None:
            self._begin = epoch + (step - 1) / max(1, steps), time.monotonic()
        self._state = {"epoch": epoch, "step": step, "steps": steps, "line": measures}

    def epoch(self, line: Mapping[str, Any], /) -> None:
        """Takes note that an epoch is done."""
        self._state = {"epoch": line["epoch"] + 1, "step": 0, "steps": 0, "line": line}

    def close(self) -> None:
        """Ends the thread and removes the file."""
        self._over.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _shine(self) -> None:
        while True:
            # A full disk is for training to find out about, not for its figures.
            with suppress(OSError):
                try:
                    self._write()
                except OSError:
                    self._aside.unlink(missing_ok=True)
                    raise
            if self._over.wait(self._every_s):
                return

    def _write(self) -> None:
        state = self._state
        plain = {
            "epoch": state["epoch"],
            "epochs": self._epochs,
            "step": state["step"],
            "steps": state["steps"],
            "train_loss": state["line"].get("train_loss"),
            "samples_per_s": state["line"].get("samples_per_s"),
            "left_s": self._left(state),
            "time": time.time(),
            "pid": os.getpid(),
            "machine": machine(),
        }
        self._aside.write_text(json.dumps(plain) + "\n")
        self._aside.replace(self._path)

    def _left(self, state: Mapping[str, Any]) -> float | None:
        """Seconds that are left, at the pace of this command so far; None before its first step."""
        if self._begin is None:
            return None
        done = state["epoch"] + state["step"] / max(1, state["steps"])
        fresh = done - self._begin[0]
        pace = (time.monotonic() - self._begin[1]) / fresh if fresh > 0 else 0.0
        return round(pace * max(0.0, self._epochs - done), 1) if fresh > 0 else None


def machine() -> str:
    """Digest by which a process knows whether another one shares its numbers of processes."""
    parts = []
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with suppress(OSError):
            link = os.path.islink(path)
            parts.append(os.readlink(path) if link else Path(path).read_text())
    # Elsewhere than on Linux, the name of the host has to do.
    parts = parts or [os.uname().nodename]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]
