"""A process that trains, and looks at runs, on a disk that is too small; prints what came of it.

Its arguments are the folder of the small disk, mounted here, and the shards. Each line it prints is
JSON: the commands and how they ended. To be started where it may mount, see `inside`.
"""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import torch
from click.testing import CliRunner

from mmtrain.cli.main import main
from tests.support import ROOT

# Rooms that are left, in KB: for no file at all, for a config, and for ever more of a run.
ROOMS = (0, 4, 12, 24, 60, 500, 1000, 1600, 2400)
_DISK_KB = 16_000
_SMALL = (
    *("--epochs", "2", "--batch-size", "4", "--device", "cpu", "--workers", "1"),
    *("--method", "bss-l", "--encoder", "small-cnn", "--set", "encoder.width=64"),
    *("--set", "view.frames=1", "--set", "view.size=32"),
)


def inside():
    """Beginning of a command that may mount in a space of its own; None if this machine forbids."""
    space = ["unshare", "--map-root-user", "--mount"]
    tried = subprocess.run([*space, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return None if tried.returncode else space


def carry_out(folder, shards):
    """What each command printed on stderr, and its exit code, by the room that there was."""
    command = [*inside(), sys.executable, "-m", __name__, str(folder), str(shards)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    # Not even an error that Python only reports, such as that of a file which it closes.
    assert "Traceback" not in done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def report(outcome):
    sys.stdout.write(json.dumps(outcome) + "\n")


def run(*arguments):
    done = CliRunner().invoke(main, [str(each) for each in arguments])
    unnamed = done.exception is not None and not isinstance(done.exception, SystemExit)
    return {
        "code": done.exit_code,
        "stderr": done.stderr,
        "traceback": repr(done.exception) * unnamed,
    }


@contextlib.contextmanager
def left(folder, room_kb):
    """Fills the disk up to a room in KB."""
    free = subprocess.run(
        ["df", "-k", "--output=avail", folder], capture_output=True, text=True, check=True
    )
    filler = folder / "filler"
    with filler.open("wb") as file:
        file.write(bytes(1024 * (int(free.stdout.split()[1]) - room_kb)))
    yield
    filler.unlink()


def train_with(room_kb, folder, shards):
    """Trains with too little room, and goes on when there is enough."""
    out = folder / f"run-{room_kb}"
    command = ("train", "--data", shards, *_SMALL, "--out", out)
    with left(folder, room_kb):
        first = run(*command)
        aside = [str(path) for path in folder.rglob("*.partial")]
    second = (
        run("train", "--out", out, "--resume") if (out / "config.json").exists() else run(*command)
    )
    result = json.loads((out / "result.json").read_text()) if second["code"] == 0 else {}
    return {
        "room": room_kb,
        "first": first,
        "aside": aside,
        "second": second,
        "test": result.get("test"),
    }


def look_at(folder):
    """Evaluates, probes and reports on a finished run, without room and then with it."""
    out = folder / f"run-{ROOMS[0]}"
    page = ("report", out, "--html", folder / "page.html")
    for command in (("eval", out), ("probe", out), page):
        with left(folder, 0):
            first = run(*command)
            aside = [str(path) for path in folder.rglob("*.partial")]
        yield {"command": command[0], "first": first, "aside": aside, "second": run(*command)}


def read_only(folder, shards):
    """Asks all of a disk that nothing may be written to."""
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    out = folder / f"run-{ROOMS[0]}"
    page = ("report", out, "--html", folder / "other.html")
    new = ("train", "--data", shards, *_SMALL, "--out", folder / "new")
    # What is measured already is not measured again unasked.
    for command in (("eval", out, "--force"), ("probe", out, "--force"), page, new):
        yield {"read_only": command[0], "first": run(*command)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    small, data = map(Path, sys.argv[1:])
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK_KB}k", "none", small], check=True)
    for room in ROOMS:
        report(train_with(room, small, data))
        if room:
            subprocess.run(["rm", "-r", str(small / f"run-{room}")], check=True)
    for outcome in look_at(small):
        report(outcome)
    for outcome in read_only(small, data):
        report(outcome)
