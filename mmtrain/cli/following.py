"""The table of `mmtrain watch`: drawn anew on a terminal, a line at each change elsewhere."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mmtrain.report.status import (
    FINISHED,
    KILLED,
    RUNNING,
    SILENT_S,
    STOPPED,
    Status,
    has_table,
    statuses,
)
from mmtrain.tasks.measures import MEASURES

_COLOURS = {RUNNING: "cyan", FINISHED: "green"}


def follow(folder: Path, every_s: float, console: Console) -> None:
    """Shows the runs of a folder until none of them runs any more.

    Args:
        folder: Folder of a run, or of a comparison.
        every_s: Seconds between two looks.
        console: Console to draw on.
    """
    live = Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext()
    printed: dict[Path, str] = {}
    quiet_s = 0.0
    with live as table:
        while True:
            seen = statuses(folder)
            if table is not None:
                table.update(plain_table(seen), refresh=True)
            else:
                _print_changes(seen, printed, console)
            quiet_s = 0.0 if any(status.state == RUNNING for status in seen) else quiet_s + every_s
            if is_over(folder, seen, quiet_s):
                return
            time.sleep(every_s)


def is_over(folder: Path, seen: Sequence[Status], quiet_s: float) -> bool:
    """Whether nothing more is to come.

    Between two runs of a comparison there is a moment in which none trains.

    Args:
        folder: Folder of a run, or of a comparison.
        seen: State of its runs.
        quiet_s: Seconds in which none has trained.
    """
    states = {status.state for status in seen}
    if RUNNING in states:
        return False
    alone = seen[0].run.folder == folder
    return alone or bool(states & {STOPPED, KILLED}) or has_table(folder) or quiet_s > SILENT_S


def _print_changes(seen: Sequence[Status], printed: dict[Path, str], console: Console) -> None:
    for status in seen:
        change = f"{status.state} {len(status.run.epochs)}"
        if printed.get(status.run.folder) != change:
            printed[status.run.folder] = change
            console.print(_line(status), highlight=False, markup=False, soft_wrap=True)


def plain_table(seen: Sequence[Status]) -> Table:
    """Returns one row a run."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run")
    table.add_column("state")
    for name in ("epoch", "loss, train", "loss, val", "val", "by modality", "samples/s", "left"):
        table.add_column(name, justify="left" if name == "by modality" else "right")
    for status in seen:
        table.add_row(
            Text(status.run.name),
            Text(_state(status), style=_COLOURS.get(status.state, "red")),
            *map(Text, _cells(status)),
        )
    return table


def _cells(status: Status) -> list[str]:
    last = status.run.epochs[-1] if status.run.epochs else None
    val = None if last is None else last.val
    name = status.run.measures[0] if status.run.measures else ""
    left = status.progress.get("left_s") if status.state == RUNNING else None
    return [
        f"{status.epoch:.1f}/{status.run.config.epochs}".replace(".0/", "/"),
        _number(status.train_loss, 4),
        _number(None if val is None else val.fused.loss, 4),
        "" if val is None else f"{MEASURES[name].title} {_number(val.fused.value(name), 3)}",
        ""
        if val is None
        else ", ".join(f"{m} {_number(own.value(name), 3)}" for m, own in val.modalities.items()),
        _number(status.samples_per_s, 0),
        "" if left is None else duration(left),
    ]


def _line(status: Status) -> str:
    epoch, train, loss, fused, own, rate, left = _cells(status)
    parts = [
        f"{status.run.name}: {_state(status)}",
        f"epoch {epoch}",
        train and f"loss {train}",
        loss and f"val loss {loss}",
        fused and f"val {fused} ({own})",
        rate and f"{rate} samples/s",
        left and f"{left} left",
    ]
    return ", ".join(part for part in parts if part)


def _state(status: Status) -> str:
    if status.state == RUNNING and (status.silent_s or 0) >= SILENT_S:
        return f"no sign for {duration(status.silent_s or 0)}"
    return status.state


def duration(seconds: float) -> str:
    """Text of a number of seconds, such as ``1:05:09``; without hours where there are none.

    >>> duration(3909), duration(65)
    ('1:05:09', '1:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"
