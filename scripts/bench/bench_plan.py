"""Seconds that `mmprep` needs for many clips, beside the work on the clips themselves.

Run it from the repository: ``.venv/bin/python scripts/bench/bench_plan.py``.

A folder of empty files is planned, and each clip becomes a sample of a few bytes: what is timed is
the work on names, rows and members. CPU is user and system time of this process, which a busy
machine changes least. The targets are seconds of 100,000 clips; other numbers are held to their
share. Each line is timed once, and the data set is then extended by a hundredth.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

import click

from mmprep.build.extend import joined as join_extension
from mmprep.build.extend import known_clips, plan_extension
from mmprep.build.plan import Plan, Task
from mmprep.build.publish import publish
from mmprep.build.request import Request, make_plan
from mmprep.build.rewrite import republish
from mmprep.build.shard import ShardResult, sidecar_path, write_clip
from mmprep.format import ShardWriter
from mmprep.format.paths import PLAN
from mmprep.inspection.info import summarise
from mmprep.inspection.verify import verify
from mmprep.shards import Shards, read_dataset
from mmprep.storage.store import LocalStore, Store

T = TypeVar("T")

_CLASSES: Final = 100
_OF: Final = 100_000  # clips for which the targets are
_PAYLOAD: Final = {
    "json": [b'{"checks": {}}'],
    "frames": [b"picture"] * 3,
    "spectrogram": [b"sound"],
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the table.

    Attributes:
        limit_s: Seconds of CPU that are wanted at most; None for a line that is only shown.
    """

    what: str
    cpu_s: float
    wall_s: float
    limit_s: float | None = None


class Stopwatch:
    """Times steps and remembers their lines."""

    def __init__(self, clips: int) -> None:
        self._share = clips / _OF
        self.lines: list[Line] = []

    def time(self, what: str, limit_s: float | None, step: Callable[[], T]) -> T:
        """Runs ``step`` and adds its line."""
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        result = step()
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
        limit_s = None if limit_s is None else limit_s * self._share
        self.lines.append(Line(what=what, cpu_s=cpu_s, wall_s=wall_s, limit_s=limit_s))
        click.echo(f"{what}: {cpu_s:.2f} s", err=True)
        return result


def make_clips(raw: Path, begin: int, end: int) -> None:
    """Writes empty clips, numbered from ``begin`` to ``end``, in folders of splits and classes."""
    for number in range(begin, end):
        split = "val" if number % 10 == 8 else "test" if number % 10 == 9 else "train"
        folder = raw / split / f"class{number // 10 % _CLASSES:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"clip{number:07d}.mp4").touch()


def write_tasks(plan: Plan, store: Store) -> dict[str, ShardResult]:
    """Writes the shards of ``plan``, with the same few bytes for each clip."""
    return {task.name: _write_task(task, plan, store) for task in plan.tasks}


def _write_task(task: Task, plan: Plan, store: Store) -> ShardResult:
    name = f"{task.name}.tar"
    with store.create(name) as file:
        writer = ShardWriter(file, plan.parts.names)
        entries = tuple(write_clip(writer, row, _PAYLOAD) for row in task.rows)
        writer.close()
    result = ShardResult(
        task=task.name,
        shard=writer.info(name, len(entries)),
        entries=entries,
        labels=tuple(row.label for row in task.rows),
        failures=(),
    )
    store.write(sidecar_path(task.name), result.to_json())
    return result


def results_of(plan: Plan, store: Store) -> dict[str, ShardResult]:
    """Reads the sidecars of ``plan``, as a build does that is continued."""
    paths = {task.name: sidecar_path(task.name) for task in plan.tasks}
    return {name: ShardResult.from_json(store.read(path), path) for name, path in paths.items()}


def forget(store: Store, plan: Plan) -> None:
    """Removes the sidecars of ``plan``."""
    for task in plan.tasks:
        store.delete(sidecar_path(task.name))


def run(folder: Path, clips: int) -> tuple[list[Line], Mapping[str, str]]:
    """Times all steps; returns their lines and the roots of the data sets."""
    raw, store, watch = folder / "raw", LocalStore(folder / "out"), Stopwatch(clips)
    request = Request(dataset="folder", raw=raw, parts=("frames", "spectrogram"))
    make_clips(raw, 0, clips)
    plan = watch.time("plan", 15.0, lambda: make_plan(request))
    text = watch.time("plan to JSON", None, plan.to_json)
    watch.time("plan from JSON", None, lambda: Plan.from_json(text, PLAN))
    results = watch.time("shards and sidecars written", None, lambda: write_tasks(plan, store))
    watch.time("sidecars read", None, lambda: results_of(plan, store))
    dataset = watch.time("published", None, lambda: publish(plan, results, store))
    forget(store, plan)
    verdict = watch.time("verify", 10.0, lambda: verify(store))
    assert not verdict.problems, verdict.problems[:3]

    def info() -> None:
        with Shards(store) as shards:
            summarise(shards)

    watch.time("info", 1.0, info)
    make_clips(raw, clips, clips + clips // 100)
    later = replace(make_plan(request), limit=None)
    known = watch.time("extend: clips that are known", None, lambda: known_clips(store, dataset))
    extension = watch.time(
        "extend: plan", 5.0, lambda: plan_extension(later, dataset, known, store.url)
    )
    assert extension.rows == clips // 100
    added = write_tasks(extension, store)
    forget(store, extension)

    def finish() -> None:
        both, all_results = join_extension(extension, added, store, dataset)
        republish(both, all_results, store)

    watch.time("extend: published", 10.0, finish)
    assert not verify(store).problems
    return watch.lines, {"root": dataset.root, "extended root": read_dataset(store).root}


def table(lines: list[Line]) -> str:
    """``lines`` as aligned text."""
    cells = [("step", "CPU s", "wall s", "target", "ok")]
    for line in lines:
        target = "" if line.limit_s is None else f"<= {line.limit_s:.1f}"
        verdict = "" if line.limit_s is None else "ok" if line.cpu_s <= line.limit_s else "NO"
        cells.append((line.what, f"{line.cpu_s:.2f}", f"{line.wall_s:.2f}", target, verdict))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = (zip(row, "<>><<", widths, strict=True) for row in cells)
    return "\n".join("  ".join(f"{c:{side}{w}}" for c, side, w in row).rstrip() for row in rows)


@click.command()
@click.option("--clips", type=click.IntRange(1000), default=_OF, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def main(clips: int, as_json: bool) -> None:
    """Times plan, verify, info and extend of many clips."""
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory(prefix="bench-plan-") as name:
        lines, roots = run(Path(name), clips)
    load.append(os.getloadavg()[0])
    if as_json:
        facts = {"clips": clips, "load": load, **roots}
        click.echo(json.dumps({**facts, "lines": [asdict(line) for line in lines]}))
        return
    click.echo(table(lines))
    click.echo(f"\n{clips:,} clips. Load before and after: {load[0]:.2f}, {load[1]:.2f}.")
    click.echo("\n".join(f"{name} {root}" for name, root in roots.items()))


if __name__ == "__main__":
    main()
