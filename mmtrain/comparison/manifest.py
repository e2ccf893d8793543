"""DIR/manifest.json: with which versions, on what and how long a comparison was computed.

It also has what the command line gave besides the study, so that `mmtrain study DIR --again` can
repeat it.
"""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mmprep.format.damage import naming_damage
from mmprep.format.fields import parse_json
from mmtrain.comparison.energy import EnergyMeter, gpu_names, total
from mmtrain.comparison.tuning import TUNE
from mmtrain.errors import ConfigError
from mmtrain.evaluation.open_run import write_json
from mmtrain.training import history
from mmtrain.training.parts import CONFIG, read_config
from mmtrain.training.train import RESULT, result_of

MANIFEST: Final = "manifest.json"
_FORMAT: Final = 1


class StudyCommand:
    """A command of a comparison, from its beginning on: its seconds and its energy."""

    def __init__(self) -> None:
        self._meter, self._before = EnergyMeter(), time.monotonic()
        self._started = history.now()

    def end(self) -> dict[str, Any]:
        """The command as the manifest has it."""
        joules = self._meter.end()
        return {
            "argv": history.command_line(),
            "started": self._started,
            "ended": history.now(),
            "seconds": round(time.monotonic() - self._before, 3),
            "joules": joules,
            "versions": history.versions(),
            "commit": history.commit(),
            "hardware": hardware(),
        }


def hardware() -> dict[str, Any]:
    """Processor, cores, bytes of memory and GPUs of this machine; nothing that names it."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "gpus": gpu_names(),
    }


def write_manifest(
    folder: Path, data: Mapping[str, str], request: Mapping[str, Any], command: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes DIR/manifest.json, in which this command follows those before it.

    Args:
        folder: Folder of the comparison.
        data: ``place`` and ``root`` of the shards.
        request: Options of the command line besides the study.
        command: `StudyCommand.end`.

    Raises:
        DataError: The manifest that is there is damaged.
    """
    former = read(folder) or {"commands": []}
    runs = _without_copies([_record(path.parent, folder) for path in folder.rglob(RESULT)])
    commands = [*former["commands"], command]
    plain = {
        "format": _FORMAT,
        "data": data,
        "request": request,
        "commands": commands,
        "runs": runs,
        "seconds": round(sum(run["seconds"] for run in runs), 3),
        "joules": _energy(commands, runs),
    }
    write_json(folder / MANIFEST, plain)
    return plain


def read(folder: Path) -> dict[str, Any]:
    """Content of the manifest in a folder; empty where there is none.

    Raises:
        DataError: It is damaged.
    """
    path = folder / MANIFEST
    if not path.exists():
        return {}
    with naming_damage(str(path), "remove it, and the same command writes it anew"):
        plain = {**parse_json(path.read_bytes())}
        if plain["format"] != _FORMAT or not isinstance(plain["commands"], list):
            raise ValueError("fields of other types")
        str(plain["data"]["root"])
    return plain


def require(folder: Path) -> dict[str, Any]:
    """Content of the manifest of a study that is to be repeated.

    Raises:
        ConfigError: The folder holds no finished study.
        DataError: Its manifest is damaged.
    """
    plain = read(folder)
    if not plain:
        raise ConfigError(
            f"{folder} has no {MANIFEST}, which a study writes when it is done: there is nothing "
            "to repeat"
        )
    return plain


def _record(run: Path, folder: Path) -> dict[str, Any]:
    """Place, seed, seconds of training, devices and beginnings of a finished run."""
    commands = history.read(run).get("commands", [])
    result = result_of(run)
    return {
        "run": run.relative_to(folder).as_posix(),
        "seed": read_config(run / CONFIG).seed,
        "epochs": result["epochs"],
        "seconds": result["train_seconds"],
        "devices": list(dict.fromkeys(command["device"] for command in commands)),
        "started": [command["started"] for command in commands],
    }


def _without_copies(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs by name, where those that tuning has trained already take no seconds of their own."""

    def origin(run: Mapping[str, Any]) -> tuple[str, int, str]:
        return run["run"].partition("/")[0], run["seed"], run["started"][0]

    tuned = {
        origin(run): run["run"] for run in runs if f"/{TUNE}/" in run["run"] and run["started"]
    }
    records = []
    for run in sorted(runs, key=lambda run: str(run["run"])):
        first = tuned.get(origin(run)) if run["started"] else None
        copied = first is not None and f"/{TUNE}/" not in run["run"]
        records.append({**run, "seconds": 0.0, "copy_of": first} if copied else run)
    return records


def _energy(
    commands: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]
) -> float | None:
    """Joules of all commands; None where one had no counter, or a run was trained by another.

    A command that was killed has left no number, but its runs say when it began them.
    """
    joules = [total(command["joules"]) for command in commands]
    spans = [(command["started"], command["ended"]) for command in commands]
    times = [time for run in runs for time in run["started"]]
    covered = all(any(low <= time <= high for low, high in spans) for time in times)
    known = [value for value in joules if value is not None]
    return sum(known) if covered and len(known) == len(joules) else None


def _processor() -> str:
    """Name of the processor, as Linux has it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
