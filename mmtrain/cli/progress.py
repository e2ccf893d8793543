"""Progress of a run: a bar on a terminal, lines elsewhere."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmtrain.cli.measured import main_measure
from mmtrain.training.watch import Watch

log = logging.getLogger(__name__)

_EVERY_S: Final = 5.0


@contextmanager
def watching(console: Console, epochs: int) -> Iterator[Watch]:
    """Shows the progress of a run: a bar on a terminal, else a line every few seconds."""
    if not console.is_terminal:
        yield _Lines(epochs)
        return
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield _Bar(bar, epochs)


class _Lines:
    def __init__(self, epochs: int) -> None:
        self._epochs, self._last = epochs, time.monotonic()

    def step(self, epoch: int, step: int, steps: int, line: Mapping[str, Any]) -> None:
        if time.monotonic() - self._last >= _EVERY_S:
            self._last = time.monotonic()
            place = f"epoch {epoch + 1}/{self._epochs} step {step}/{steps}"
            log.info("%s %s", place, _training(line))

    def epoch(self, line: Mapping[str, Any]) -> None:
        self._last = time.monotonic()
        log.info("epoch %d/%d %s%s", line["epoch"] + 1, self._epochs, _training(line), _val(line))


class _Bar:
    def __init__(self, bar: Progress, epochs: int) -> None:
        self._bar, self._epochs = bar, epochs
        self._task = bar.add_task("", total=None, epoch="", rate="")

    def step(self, epoch: int, step: int, steps: int, line: Mapping[str, Any]) -> None:
        name = f"{epoch + 1}/{self._epochs}"
        self._bar.update(self._task, completed=step, total=steps, epoch=name, rate=_training(line))

    def epoch(self, line: Mapping[str, Any]) -> None:
        text = f"epoch {line['epoch'] + 1}/{self._epochs} {_training(line)}{_val(line)}"
        self._bar.console.print(text, highlight=False, markup=False)
        self._bar.reset(self._task, epoch="", rate="")


def _training(line: Mapping[str, Any]) -> str:
    return (
        f"loss {line['train_loss']:.4f}, {line['samples_per_s']:.0f} samples/s, "
        f"{line['data_wait']:.0%} waiting for data"
    )


def _val(line: Mapping[str, Any]) -> str:
    if not line["val"]:
        return ""
    return f", val {main_measure(line['val'])}"
