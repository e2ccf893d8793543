"""Sends the lines of metrics.jsonl to a logger, in a thread that training does not wait for."""

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from mmtrain.training.loggers.base import Logger, Subject
from mmtrain.training.loggers.figures import figures, measured, whole_lines

log = logging.getLogger(__name__)

_PATIENCE_S: Final = 60.0  # For the last points, when training is over.


class Sender:
    """Keeps a logger up with a file of metrics, and remembers how far it has come.

    The file is read anew each time, and what was sent is counted in another: a run that is killed
    and resumed sends what is lacking, and nothing twice.

    Args:
        name: Name of the logger.
        start: Function that starts it.
        subject: Run, without what the logger has of it.
        metrics: File of the metrics.
        result: File of the result.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[Subject], Logger],
        subject: Subject,
        metrics: Path,
        result: Path,
    ) -> None:
        self.name, self._start, self._subject = name, start, subject
        self._metrics, self._result = metrics, result
        self._state = subject.folder / f".logger-{name}.json"
        self._woken, self._outcome = threading.Event(), ""
        self._thread = threading.Thread(target=self._guard, name=f"logger-{name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Lets the logger look at the file, and returns at once."""
        self._woken.set()

    def close(self, outcome: str, patience_s: float = _PATIENCE_S) -> None:
        """Ends the run at the logger; leaves one behind that takes too long.

        Args:
            outcome: ``finished``, ``stopped`` or ``failed``.
            patience_s: Seconds to wait for the last points.
        """
        self._outcome = outcome
        self._woken.set()
        self._thread.join(patience_s)
        if self._thread.is_alive():
            log.warning("--log %s: the last points are not through yet; left behind", self.name)

    def _guard(self) -> None:
        try:
            self._work()
        except BaseException as error:  # A logger may raise anything, and training goes on.
            text = " ".join(str(error).split())
            log.warning(
                "--log %s failed, and takes no more of this run: %s: %.300s",
                *(self.name, type(error).__name__, text),
            )

    def _work(self) -> None:
        known = self._known()
        subject = replace(self._subject, id=known.get("id"), epochs=known.get("epochs", 0))
        sent = known.get("sent", 0)
        logger = self._start(subject)
        while True:
            self._woken.wait()
            self._woken.clear()
            # Before the file is looked at: what comes behind the look wakes once more.
            outcome = self._outcome
            lines = whole_lines(self._metrics)
            for number in range(sent, len(lines)):
                logger.log(figures(lines[number]), lines[number]["epoch"] + 1)
                sent = number + 1
                self._remember(logger.id, sent, lines[number]["epoch"] + 1)
            if outcome == "finished" and sent == len(lines) and lines:
                self._send_test(logger, lines[-1]["epoch"] + 1)
            if outcome:
                logger.close(outcome)
                return

    def _send_test(self, logger: Logger, epoch: int) -> None:
        result = json.loads(self._result.read_bytes())
        if result["test"] is not None:
            logger.log(dict(measured("test", result["test"])), epoch)

    def _known(self) -> dict[str, Any]:
        try:
            return {**json.loads(self._state.read_bytes())}
        except (OSError, ValueError, TypeError):
            return {}

    def _remember(self, id: str, sent: int, epochs: int) -> None:
        aside = self._state.with_name(f"{self._state.name}.partial")
        aside.write_text(json.dumps({"id": id, "sent": sent, "epochs": epochs}))
        aside.replace(self._state)
