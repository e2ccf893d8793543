"""Kills real commands at random moments, and compares what they end in with undisturbed ones.

    python -m tests.support.killing --kills 30 --seed 0

Each kill is one SIGKILL: of a whole command (`build`, `copy`, `repair`, `train`), which the same
command then continues, or of one decoding process of a build (`worker`), which goes on by itself.
Moments are counted in changes of the folder that the command works on, so that a kill hits the
work and not the start of Python, however busy the machine is.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mmprep.build.plan import rank
from mmprep.manifest import write_csv
from tests.support import ROOT
from tests.support.builds import decoders, processes, rows_of, until, write_raw

COUNT = 24
# Attempts to hit one command while it works.
_TRIES = 10
_SMALL = ("--parts", "frames", "--set", "frames.short_side=32", "--set", "clip_s=1",
          "--shard-size", "3", "--max-failed", "1", "--clip-timeout", "300")  # fmt: skip
_RUN = ("--epochs", "2", "--batch-size", "4", "--encoder", "small-cnn", "--device", "cpu",
        "--modalities", "visual", "--set", "view.frames=1", "--set", "view.size=24",
        "--set", "save_every_steps=1", "--workers", "1", "--resume")  # fmt: skip
# Figures of a run that depend on the machine.
_TIMES = ("seconds", "samples_per_s", "scoring_seconds", "data_wait", "system", "logged")


@dataclass
class Bench:
    """Folders of one round, the commands that lead from one to the next, and what they end in.

    Attributes:
        home: Folder of everything.
        changes: Number of changes of its folder that were seen in each undisturbed command, by its
            kind.
        results: Kind of a command to the end of the undisturbed one.
    """

    home: Path
    changes: dict[str, int] = field(default_factory=dict)
    results: dict[str, object] = field(default_factory=dict)

    def prepare(self) -> None:
        """Writes clips, of which some are broken at first, and runs every command undisturbed."""
        good = write_raw(self.home / "good", COUNT)
        write_csv(rows_of(COUNT), self.home / "tiny.csv")
        shutil.copytree(good, self.home / "broken")
        for row in sorted(rows_of(COUNT), key=lambda row: rank(row.key, 0))[::7]:
            (self.home / "broken" / row.source).write_bytes(b"no media")
        for kind in ("build", "repair", "copy", "train"):
            self.restore(kind)
            process = self.start(kind)
            self.changes[kind] = sum(1 for _ in changes(process, self.place(kind)))
            self.finish(kind, process)
            self.results[kind] = self.result(kind)
            shutil.copytree(self.place(kind), self.home / f"undisturbed-{kind}")
        for table in (self.changes, self.results):
            table["worker"] = table["build"]  # type: ignore[index]

    def place(self, kind: str) -> Path:
        """Folder in which a command ends."""
        return self.home / {"copy": "copied", "train": "run"}.get(kind, "out")

    def restore(self, kind: str) -> None:
        """Lays out what there is before a command of ``kind``."""
        shutil.rmtree(self.place(kind), ignore_errors=True)
        if kind == "repair":
            built = self.home / "undisturbed-build"
            shutil.copytree(built, self.place(kind))

    def start(self, kind: str) -> "subprocess.Popen[bytes]":
        """Starts the command of ``kind`` in a session of its own."""
        home = self.home
        built = home / "undisturbed-build"
        words: Mapping[str, tuple[object, ...]] = {
            "build": ("mmprep", "build", "--manifest", home / "tiny.csv", "--raw", home / "broken",
                      "--out", home / "out", "--workers", 2, *_SMALL),
            "repair": ("mmprep", "repair", home / "out", "--raw", home / "good", "--workers", 2),
            "copy": ("mmprep", "copy", built, home / "copied"),
            "train": ("mmtrain", "train", "--data", built, "--out", home / "run", *_RUN),
        }  # fmt: skip
        log = (home / "commands.log").open("ab")
        return subprocess.Popen(
            [sys.executable, "-m", *map(str, words["build" if kind == "worker" else kind])],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def finish(self, kind: str, process: "subprocess.Popen[bytes]") -> None:
        """Waits for a command that must succeed."""
        if process.wait():
            tail = (self.home / "commands.log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{kind} ends with exit code {process.returncode}:\n{tail}")

    def result(self, kind: str) -> object:
        """Root of a data set; of a run, its metrics without times."""
        if kind != "train":
            return json.loads((self.place(kind) / "dataset.json").read_text())["root"]
        lines = (self.place(kind) / "metrics.jsonl").read_text().splitlines()
        return [{n: v for n, v in json.loads(line).items() if n not in _TIMES} for line in lines]


def changes(process: "subprocess.Popen[bytes]", folder: Path) -> Iterator[None]:
    """Yields after each change below ``folder`` that is seen, until ``process`` ends."""
    before = _files(folder)
    while process.poll() is None:
        now = _files(folder)
        if now != before:
            yield
        before = now
        time.sleep(0.002)


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below ``folder``."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                facts = os.stat(os.path.join(place, name))
                found[os.path.join(place, name)] = facts.st_size, facts.st_mtime_ns
    return found


def kill_once(bench: Bench, kind: str, chance: random.Random) -> None:
    """Kills one command of ``kind``, or one of its decoders, while it works."""
    for _ in range(_TRIES):
        bench.restore(kind)
        process = bench.start(kind)
        wanted = chance.randrange(bench.changes[kind])
        for number, _ in enumerate(changes(process, bench.place(kind))):
            if number == wanted:
                break
        # Somewhere before the next change.
        time.sleep(chance.random() * 0.01)
        if kind == "worker":
            hit = _kill_decoder(process, chance)
            bench.finish(kind, process)
        else:
            hit = _kill_command(process)
        if hit:
            return
    raise RuntimeError(f"no kill hits a {kind} under way")


def _kill_command(process: "subprocess.Popen[bytes]") -> bool:
    process.kill()
    process.wait()
    # What it started goes by itself.
    until(lambda: all(one.session != process.pid for one in processes()), 600)
    return process.returncode == -signal.SIGKILL


def _kill_decoder(process: "subprocess.Popen[bytes]", chance: random.Random) -> bool:
    until(lambda: decoders(process.pid) or process.poll() is not None, 600)
    victims = decoders(process.pid)
    if victims:
        with suppress(ProcessLookupError):
            os.kill(chance.choice(victims), signal.SIGKILL)
    return bool(victims)


def torture(home: Path, kills: int, seed: int, only: tuple[str, ...]) -> list[dict[str, object]]:
    """Table of the kinds: kills, those that left work behind, and those that ended in the root."""
    bench = Bench(home)
    bench.prepare()
    chance = random.Random(seed)
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in only}
    for number in range(kills):
        kind = only[number % len(only)]
        kill_once(bench, kind, chance)
        counts[kind]["kills"] += 1
        counts[kind]["begun"] += bench.place(kind).exists()
        if kind != "worker":
            bench.finish(kind, bench.start(kind))
        verified = kind == "train" or _is_whole(bench.place(kind))
        counts[kind]["as undisturbed"] += bench.result(kind) == bench.results[kind] and verified
        sys.stderr.write(f"{number + 1} of {kills}: {kind} {dict(counts[kind])}\n")
    return [{"kind": kind, **counts[kind]} for kind in only]


def _is_whole(folder: Path) -> bool:
    words = [sys.executable, "-m", "mmprep", "verify", str(folder)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, check=False).returncode == 0


KINDS: tuple[str, ...] = ("build", "worker", "copy", "repair", "train")


def main(words: list[str] | None = None, write: Callable[[str], object] = sys.stdout.write) -> int:
    """Prints the table; exit code 1 if a kill changed what a command ends in."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30, help="kills, of each kind in turn")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--only", default=",".join(KINDS), help="kinds, separated by commas")
    flags = parser.parse_args(words)
    only = tuple(kind.strip() for kind in flags.only.split(","))
    with tempfile.TemporaryDirectory(prefix="kills-") as home:
        table = torture(Path(home), flags.kills, flags.seed, only)
    columns = ("kind", "kills", "begun", "as undisturbed")
    for row in (dict(zip(columns, columns, strict=True)), *table):
        write("  ".join(f"{row.get(column, 0)!s:14}" for column in columns).rstrip() + "\n")
    return 0 if all(row.get("as undisturbed", 0) == row.get("kills", 0) for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
