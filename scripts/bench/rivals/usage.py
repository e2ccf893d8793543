"""Processor time and bytes read of this process and all below it, as Linux counts them."""

import os
from pathlib import Path
from typing import Final, NamedTuple

_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """Sums over a tree of processes.

    Attributes:
        cpu_s: Seconds of the processor.
        read: Bytes that calls have read; not those of files mapped into memory.
    """

    cpu_s: float
    read: int


def tree_usage() -> Usage:
    """Sums up this process, those that run below it, and those that ended and were waited for."""
    parents: dict[int, list[int]] = {}
    stats: dict[int, list[str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        stats[int(folder.name)] = fields
        parents.setdefault(int(fields[1]), []).append(int(folder.name))
    seconds, read, todo = 0.0, 0, [os.getpid()]
    while todo:
        process = todo.pop()
        todo += parents.get(process, [])
        # User and system time of the process, then of its children that ended.
        seconds += sum(map(int, stats[process][11:15])) / _TICKS
        read += _bytes_read(process)
    return Usage(seconds, read)


def _bytes_read(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/io").read_text().splitlines()
    except OSError:
        return 0
    return int(lines[0].split()[1])
