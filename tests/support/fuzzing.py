"""Runs seeded mutants, each in a process of its own, and counts what became of them.

A mutant passes if reading it gives a named error, or what the original held. Failures are: any
exception without a message for users, a crash, a hang, a file opened elsewhere, more memory than a
small data set can need, and different content where a checksum covers it.

    python -m tests.support.fuzzing --mutants 300 --seed 1
"""

import argparse
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from mmprep.errors import MmprepError
from tests.support.fuzztargets import TARGETS, Target, make_trees

_HANG_S = 60
_MEMORY = 1 << 30
# Where Python's own modules lie, and what the system shows as files.
_OURS = (
    sys.prefix,
    sys.base_prefix,
    str(Path(__file__).parents[2]),
    "/proc",
    "/sys",
    "/dev",
    "/etc",
    "/usr",
)


def run_mutant(target: Target, home: Path, seed: str, original: str | None) -> tuple[str, str]:
    """Damages a copy and reads it in a child; returns the outcome in a word, and its text."""
    folder = home / "mutant"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(home / target.tree, folder)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        text = json.dumps(_child(target, home, folder, seed, original))
        os.write(write, text.encode()[:60_000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if status or not text:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        kind = "hang" if number == signal.SIGALRM else "crash"
        return kind, f"ended by signal {number}"
    outcome, message = json.loads(text)
    return outcome, message


def _child(
    target: Target, home: Path, folder: Path, seed: str, original: str | None
) -> tuple[str, str]:
    rng = random.Random(seed)
    kind = target.damage(folder, home / "canary.h5", rng)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_HANG_S)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    strays: list[str] = []
    allowed = (*_OURS, str(folder), str(home / "shards"), tempfile.gettempdir() + "/tmp")

    def watch(event: str, arguments: Any) -> None:
        if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            place = os.path.abspath(os.fsdecode(arguments[0]))
            if not place.startswith(allowed):
                strays.append(place)

    sys.addaudithook(watch)
    os.chdir(folder)
    sys.stderr = sys.stdout = io.StringIO()
    try:
        seen = target.read(folder)
    except MmprepError as error:
        outcome, text = "refused", f"{type(error).__name__}: {error}"
        text.encode()
    # Whatever else is raised is the finding.
    except BaseException:
        return "traceback", f"{kind}: {traceback.format_exc()[-3000:]}"
    else:
        outcome, text = "read", ""
        if target.checked and seen != original:
            return "wrong", f"{kind}: other content than the original's was read"
    if strays:
        return "stray", f"{kind}: opened {strays[:3]}"
    return outcome, text


def fuzz(
    home: Path, seed: int, mutants: int, minutes: float, only: str | None = None
) -> dict[str, Any]:
    """Reads ``mutants`` mutants, or as many as take ``minutes``; returns figures and failures."""
    make_trees(home)
    _make_canary(home / "canary.h5")
    os.mkfifo(home / "canary.h5.pipe")
    names = [name for name, target in TARGETS.items() for _ in range(target.share)]
    names = [name for name in names if only in (None, name)]
    originals = {
        name: TARGETS[name].read(_copy(home, TARGETS[name]))
        for name in set(names)
        if TARGETS[name].checked
    }
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    failures: list[dict[str, str]] = []
    begin, number = time.monotonic(), 0
    while number < mutants or time.monotonic() - begin < 60 * minutes:
        name = names[number % len(names)]
        outcome, text = run_mutant(TARGETS[name], home, f"{seed}:{number}", originals.get(name))
        counts[name][outcome] += 1
        if outcome not in ("read", "refused"):
            failures.append(
                {"target": name, "seed": f"{seed}:{number}", "outcome": outcome, "text": text}
            )
        number += 1
    total = sum(counts.values(), Counter())
    return {
        "mutants": number,
        "seconds": round(time.monotonic() - begin, 1),
        **{
            kind: total[kind]
            for kind in ("refused", "read", "traceback", "crash", "hang", "wrong", "stray")
        },
        "targets": {name: dict(count) for name, count in counts.items()},
        "failures": failures,
    }


def _copy(home: Path, target: Target) -> Path:
    shutil.rmtree(home / "mutant", ignore_errors=True)
    return Path(shutil.copytree(home / target.tree, home / "mutant"))


def _make_canary(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["canary"] = np.full(4096, 7, np.uint32)


def main() -> None:
    """Prints the figures as JSON; exit code 1 if a mutant failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mutants", type=int, default=0, help="mutants to read at least")
    parser.add_argument("--minutes", type=float, default=0, help="minutes to go on for")
    parser.add_argument("--seed", type=int, default=0, help="seed of all damage")
    parser.add_argument("--only", choices=TARGETS, help="the one kind of file to damage")
    flags = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        report = fuzz(Path(home), flags.seed, flags.mutants, flags.minutes, flags.only)
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    sys.exit(1 if report["failures"] else 0)


if __name__ == "__main__":
    main()
