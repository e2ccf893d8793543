"""Progress of long commands: a bar on a terminal, else a line every few seconds."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from mmprep.failure import Failure
from mmprep.printable import counted

_EVERY_S: Final = 5.0


@contextmanager
def clip_progress(
    console: Console, verb: str, total: int, *, done: int = 0
) -> Iterator[Callable[[Failure | None], None]]:
    """Shows the progress of a command that treats clips.

    The context's value is a function to call after each clip, with its failure or None.

    Args:
        console: Console on standard error.
        verb: Activity, such as ``building``.
        total: Number of all clips.
        done: Number of clips that an earlier run treated.
    """
    meter = _Meter(total - done)
    if not console.is_terminal:
        with _line_progress(console, verb, meter) as step:
            yield step
        return
    columns = (
        TextColumn(verb),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("[red]{task.fields[failed]}[/red]"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(verb, total=total, completed=done, rate="", failed="")

        def step(failure: Failure | None) -> None:
            meter.step(failure)
            failed = f"{meter.failed} failed" if meter.failed else ""
            bar.update(task, advance=1, rate=f"{meter.rate:.1f} clips/s", failed=failed)

        yield step


@contextmanager
def byte_progress(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    """Shows the progress of a copy.

    The context's value is a function to call with each number of copied bytes, from any thread.

    Args:
        console: Console on standard error.
        total: Number of all bytes.
    """
    columns = (TextColumn("copying"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("copying", total=total)
        lock, done = threading.Lock(), 0
        begin = last_line_s = time.monotonic()

        def step(moved: int) -> None:
            nonlocal done, last_line_s
            bar.advance(task, moved)
            with lock:
                done += moved
                now = time.monotonic()
                if console.is_terminal or now - last_line_s < _EVERY_S:
                    return
                last_line_s = now
            rate = done / max(now - begin, 1e-9) / 1e6
            console.print(
                f"copying: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB, {rate:,.1f} MB/s",
                highlight=False,
            )

        yield step


class _Meter:
    """Counts clips and failures, and measures the speed since it was made."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.failed = total, 0, 0
        self._begin = time.monotonic()

    def step(self, failure: Failure | None) -> None:
        self.done += 1
        self.failed += failure is not None

    @property
    def rate(self) -> float:
        """Clips a second."""
        return self.done / max(time.monotonic() - self._begin, 1e-9)

    def __str__(self) -> str:
        remaining_s = (self.total - self.done) / max(self.rate, 1e-9)
        return (
            f"{self.done} of {counted(self.total, 'clip')}, {self.rate:.1f} clips/s, "
            f"{self.failed} failed, {remaining_s:.0f} s left"
        )


@contextmanager
def _line_progress(
    console: Console, verb: str, meter: _Meter
) -> Iterator[Callable[[Failure | None], None]]:
    last_line_s = time.monotonic()

    def step(failure: Failure | None) -> None:
        nonlocal last_line_s
        meter.step(failure)
        if time.monotonic() - last_line_s >= _EVERY_S:
            last_line_s = time.monotonic()
            console.print(f"{verb}: {meter}", highlight=False)

    yield step
