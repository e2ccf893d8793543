"""Real builds of tiny clips, in this process or in one of their own: what several tests share.

Run as ``python builds.py RAW OUT WORKERS TIMEOUT_S`` this is a build that a test can kill.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from mmprep.build.build import BuildReport, build_dataset
from mmprep.build.plan import Plan, listing_digest, tasks, versions
from mmprep.clips.job import Job
from mmprep.config import FrameConfig, PartsConfig, SpectrogramConfig
from mmprep.failure import Failure
from mmprep.manifest import Row
from tests.support import ROOT
from tests.support.media import tone, write_clip

# Seconds that a test waits for an event; a busy machine may need many of them.
WAIT_S = 120.0
T = TypeVar("T")
LABELS = ("donkey, ass braying", 'say "hi"', "Übermut 打鼓")
COUNT = 12
# A clip of the list that was not found.
ABSENT = (
    Failure(
        key="gone",
        label=LABELS[0],
        split="test",
        source="9/gone.mp4",
        stage="find",
        cause="missing",
        message="no file",
    ),
)
# Frames alone start in a third of the time, for their workers load no scipy.
FRAMES = PartsConfig(names=("frames",), clip_s=1.0, frames=FrameConfig(short_side=32))
BOTH = replace(
    FRAMES,
    names=("frames", "spectrogram"),
    spectrogram=SpectrogramConfig(rate_hz=4000, window=64, overlap=32),
)


def write_raw(folder: Path, count: int = COUNT) -> Path:
    """Writes the clips of `rows_of`, each with a tone of its own; returns ``folder``."""
    for row in rows_of(count):
        number = int(row.key[1:])
        sound = tone(1.0, hz=200.0 + 40 * number)
        write_clip(folder / row.source, seconds=1.0, fps=5 + number % 3, sound=sound)
    return folder


def rows_of(count: int = COUNT) -> list[Row]:
    """Of every six clips four are for training."""
    return [
        Row(
            key=f"k{i:03d}",
            label=LABELS[i % len(LABELS)],
            split=("train", "train", "val", "train", "train", "test")[i % 6],
            sources={"video": f"{i % 4}/clip {i}.mp4"},
        )
        for i in range(count)
    ]


def plan_of(
    raw: Path,
    rows: Sequence[Row],
    *,
    parts: PartsConfig = FRAMES,
    absent: tuple[Failure, ...] = (),
    seed: int = 0,
    shard_size: int = 3,
) -> Plan:
    """Plan of a request, without its lists."""
    return Plan(
        name="tiny",
        title="Tiny clips",
        classes=LABELS,
        modalities=("audio", "visual"),
        licence="none",
        parts=parts,
        raw=str(raw),
        seed=seed,
        shard_size=shard_size,
        tasks=tasks(rows, seed=seed, shard_size=shard_size),
        listed=listing_digest(rows, absent),
        absent=absent,
        made_by=versions(parts, "pyav"),
    )


def run(plan: Plan, out: Path | str, *, timeout_s: float = WAIT_S, **options: Any) -> BuildReport:
    """Builds ``plan`` at ``out``."""
    job = Job(
        out=str(out),
        endpoint=None,
        raw=Path(plan.raw),
        config=plan.parts,
        clip_timeout_s=timeout_s,
    )
    return build_dataset(plan, job, **options)


def start(
    raw: Path, out: Path, workers: int, timeout_s: float = WAIT_S
) -> "subprocess.Popen[bytes]":
    """The build of all clips in ``raw``, in a process and a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", __name__, str(raw), str(out), str(workers), str(timeout_s)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Ends the process of `start`, and nothing else; what it started must go by itself."""
    process.kill()
    process.wait()
    # A child between fork and exec holds the build's lock for a moment longer.
    until(lambda: all(one.session != process.pid for one in processes()))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """File and time of change of every file below ``folder``: unequal where one was written."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process of this machine that has not ended."""

    number: int
    parent: int
    session: int
    command: bytes


def processes() -> Iterator[Process]:
    """All of them, as `/proc` says."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z":
            yield Process(
                number=int(entry.name),
                parent=int(fields[1]),
                session=int(fields[3]),
                command=command,
            )


def decoders(parent: int) -> list[int]:
    """Decoding processes of the process ``parent``."""
    return [
        one.number
        for one in processes()
        if one.parent == parent and b"mmprep.clips.worker" in one.command
    ]


def alive(number: int) -> bool:
    """Whether the process is there and has not ended."""
    return any(one.number == number for one in processes())


def until(answer: Callable[[], T], seconds: float = WAIT_S) -> T:
    """Value of ``answer`` as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := answer()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)
    return value


def opened(fifo: Path, seconds: float = WAIT_S) -> int:
    """Writing end of ``fifo``, once a decoder reads there; until it is closed the decoder waits."""

    def ask() -> int | None:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None

    return until(ask, seconds)


if __name__ == "__main__":
    folder, out, workers, timeout_s = sys.argv[1:]
    count = sum(len(names) for _, _, names in os.walk(folder))
    run(
        plan_of(Path(folder), rows_of(count), shard_size=2),
        out,
        workers=int(workers),
        timeout_s=float(timeout_s),
        max_failed=1.0,
    )


def spoil(raw, rows):
    for row in rows:
        (raw / row.source).unlink()
        (raw / row.source).write_bytes(b"no media at all")
