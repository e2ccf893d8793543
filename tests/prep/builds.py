"""Real builds of tiny clips, in this process or in one of their own: what several tests share.

Run as ``python builds.py RAW OUT WORKERS [TIMEOUT_S]`` this is a build that a test can kill.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from media import tone, write_clip

from mmprep.build import BuildReport, build
from mmprep.config import FrameConfig, PartsConfig, SpectrogramConfig
from mmprep.failure import Failure
from mmprep.job import Job
from mmprep.manifest import Row
from mmprep.plan import Plan, listed, tasks, versions

LABELS = ("donkey, ass braying", 'say "hi"', "Übermut 打鼓")
COUNT = 12
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
    """What `mmprep.prepare` makes of a request, without its lists."""
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
        listed=listed(rows, absent),
        absent=absent,
        made_by=versions(parts, "pyav"),
    )


def run(plan: Plan, out: Path | str, *, timeout_s: float = 20.0, **options: Any) -> BuildReport:
    """Builds ``plan`` at ``out``."""
    job = Job(
        out=str(out),
        endpoint=None,
        raw=Path(plan.raw),
        config=plan.parts,
        clip_timeout_s=timeout_s,
    )
    return build(plan, job, **options)


def start(raw: Path, out: Path, workers: int, timeout_s: float = 20.0) -> "subprocess.Popen[bytes]":
    """The build of all clips in ``raw``, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, __file__, str(raw), str(out), str(workers), str(timeout_s)],
        stdin=subprocess.DEVNULL,
    )


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


def decoders(parent: int) -> list[int]:
    """Decoding processes of the process ``parent``, those that have ended apart."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, above = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (entry / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(above) == parent and state != "Z" and b"mmprep.worker" in command:
            found.append(int(entry.name))
    return found


def alive(process: int) -> bool:
    """Whether the process is there, a zombie not counted."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


if __name__ == "__main__":
    raw, out, workers, timeout_s = Path(sys.argv[1]), *sys.argv[2:5]
    count = len([name for _, _, names in os.walk(raw) for name in names])
    run(
        plan_of(raw, rows_of(count), parts=BOTH, shard_size=2),
        out,
        workers=int(workers),
        timeout_s=float(timeout_s),
        max_failed=1.0,
    )
