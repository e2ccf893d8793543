"""Where runs stand, read from their folders: also of runs that train elsewhere, or died."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mmtrain.errors import ConfigError
from mmtrain.report.runs.read import TABLE, RunRecord, read_runs
from mmtrain.training.beacon import EVERY_S, PROGRESS, machine
from mmtrain.training.history import RUN
from mmtrain.training.parts import CONFIG
from mmtrain.training.train import RESULT

# Twelve writes that did not come: on a shared folder one may come late.
SILENT_S: Final = 12 * EVERY_S
RUNNING: Final = "running"
FINISHED: Final = "finished"
STOPPED: Final = "stopped"
FAILED: Final = "failed"
KILLED: Final = "killed"


@dataclass(frozen=True, kw_only=True, eq=False)
class Status:
    """State of a run at a moment.

    Attributes:
        run: Content of its folder.
        state: ``running``, ``finished``, ``stopped``, ``failed`` or ``killed``.
        progress: Content of progress.json; empty without one.
        silent_s: Seconds since the run last gave a sign; None where it is over.
    """

    run: RunRecord
    state: str
    progress: Mapping[str, Any]
    silent_s: float | None

    @property
    def epoch(self) -> float:
        """Epochs that are done, the part of the present one included."""
        done = len(self.run.epochs)
        steps = self.progress.get("steps")
        return done + self.progress["step"] / steps if steps and self.state == RUNNING else done

    def to_json(self) -> dict[str, Any]:
        """Plain values, as ``mmtrain watch --json`` prints them."""
        last = self.run.epochs[-1] if self.run.epochs else None
        val = None if last is None or last.val is None else last.val
        running = self.state == RUNNING
        return {
            "run": str(self.run.folder),
            "state": self.state,
            "epochs_done": len(self.run.epochs),
            "epochs": self.run.config.epochs,
            "step": self.progress.get("step") if running else None,
            "steps": self.progress.get("steps") if running else None,
            "train_loss": self.train_loss,
            "val": val and {**val.fused.values, "loss": val.fused.loss},
            "modalities": val and {m: dict(own.values) for m, own in val.modalities.items()},
            "samples_per_s": self.samples_per_s,
            "left_s": self.progress.get("left_s") if running else None,
            "silent_s": self.silent_s,
        }

    @property
    def train_loss(self) -> float | None:
        """Mean training loss of the present epoch so far, or of the last one."""
        last = self.run.epochs[-1].train_loss if self.run.epochs else None
        return self._now("train_loss", last)

    @property
    def samples_per_s(self) -> float | None:
        """Samples per second of the present epoch so far, or of the last one."""
        last = self.run.epochs[-1].samples_per_s if self.run.epochs else None
        return self._now("samples_per_s", last)

    def _now(self, name: str, last: float | None) -> float | None:
        value: float | None = self.progress.get(name) if self.state == RUNNING else None
        return last if value is None else value


def runs_below(folder: Path) -> list[Path]:
    """Folders of the runs of a comparison in their order; a folder of a run itself is the only one.

    Raises:
        ConfigError: There is none.
    """
    if (folder / CONFIG).exists():
        return [folder]
    found = sorted(path.parent for path in folder.rglob(CONFIG))
    if not found:
        raise ConfigError(f"{folder} holds no run, and no folder of runs")
    return found


def statuses(folder: Path) -> list[Status]:
    """State of every run in ``folder``.

    Raises:
        ConfigError: There is no run.
        DataError: A file of one is damaged.
    """
    return [_status(record) for record in read_runs(runs_below(folder))]


def has_table(folder: Path) -> bool:
    """Whether a comparison has written its table since its last run has ended."""
    table = folder / TABLE
    ends = [path.stat().st_mtime for path in folder.rglob(RESULT)]
    return table.exists() and table.stat().st_mtime >= max(ends, default=0.0)


def _status(record: RunRecord) -> Status:
    progress = _read(record.folder / PROGRESS)
    if record.result is not None:
        return Status(run=record, state=FINISHED, progress={}, silent_s=None)
    commands = _read(record.folder / RUN).get("commands") or [{}]
    outcome = commands[-1].get("outcome")
    if outcome is not None and not progress:
        state = STOPPED if outcome == STOPPED else FAILED
        return Status(run=record, state=state, progress={}, silent_s=None)
    silent = max(0.0, time.time() - progress.get("time", _changed(record.folder)))
    return Status(
        run=record,
        state=RUNNING if _alive(progress, silent) else KILLED,
        progress=progress,
        silent_s=round(silent, 1),
    )


def _alive(progress: Mapping[str, Any], silent_s: float) -> bool:
    """Whether a run that has not ended still has its process, as far as one can tell from here."""
    if progress.get("machine") == machine():
        try:
            os.kill(int(progress["pid"]), 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # The process of somebody else.
            return True
        return True
    return silent_s < SILENT_S


def _changed(folder: Path) -> float:
    """Time of the last change in a folder that has no progress.json yet."""
    return max(path.stat().st_mtime for path in (folder, folder / CONFIG))


def _read(path: Path) -> dict[str, Any]:
    """Content of a JSON file; empty where it is absent, or half written over a shared folder."""
    with suppress(OSError, ValueError, TypeError):
        return {**json.loads(path.read_bytes())}
    return {}
