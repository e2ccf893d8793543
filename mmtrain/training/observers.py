"""Everybody who follows a run: the caller, progress.json, and the loggers of the config."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from mmtrain.config.run import FREE, TrainConfig
from mmtrain.config.values import flat
from mmtrain.errors import Interrupted
from mmtrain.training.beacon import Beacon
from mmtrain.training.loggers.base import Subject
from mmtrain.training.loggers.sender import Sender
from mmtrain.training.run import METRICS
from mmtrain.training.watch import Watch

_NAMED_BY: Final = 3  # Last parts of a folder's path: comparison, row and seed.


class Observers:
    """Passes progress on to watches, and wakes the loggers at the end of an epoch.

    Args:
        watches: Those who follow each step.
        senders: Those of the loggers.
    """

    def __init__(self, watches: Sequence[Watch], senders: Sequence[Sender]) -> None:
        self._watches, self._senders = watches, senders

    def step(self, epoch: int, step: int, steps: int, measures: Mapping[str, Any], /) -> None:
        """Takes note that a step is done."""
        for watch in self._watches:
            watch.step(epoch, step, steps, measures)

    def epoch(self, line: Mapping[str, Any], /) -> None:
        """Takes note that an epoch is done."""
        for watch in self._watches:
            watch.epoch(line)
        for sender in self._senders:
            sender.wake()


@contextmanager
def observed(config: TrainConfig, result: Path, watch: Watch | None) -> Iterator[Watch]:
    """Starts progress.json and the loggers of a run, and ends them with it.

    Args:
        config: Config of the run.
        result: File of the result, in the folder of the run.
        watch: The caller's watch.
    """
    folder = result.parent
    senders = [_sender(name, config, result) for name in config.log]
    beacon = Beacon(folder, config.epochs)
    outcome = "failed"
    try:
        yield Observers([beacon] if watch is None else [watch, beacon], senders)
        outcome = "finished"
    except (Interrupted, KeyboardInterrupt):
        outcome = "stopped"
        raise
    finally:
        beacon.close()
        for sender in senders:
            sender.wake()
        for sender in senders:
            sender.close(outcome)


def _sender(name: str, config: TrainConfig, result: Path) -> Sender:
    folder = result.parent
    values = flat(asdict(config))
    settings = {
        key: ",".join(map(str, value)) if isinstance(value, list) else value
        for key, value in values.items()
        if key not in FREE and not key.startswith("plugins.")
    }
    subject = Subject(
        folder=folder.resolve(),
        name="/".join(folder.resolve().parts[-_NAMED_BY:]),
        config=settings,
    )
    module = importlib.import_module(f"mmtrain.training.loggers.{name}")
    return Sender(name, module.start, subject, folder / METRICS, result)
