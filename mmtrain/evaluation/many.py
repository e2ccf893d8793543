"""Measuring several runs, one after the other: named one by one, or all below a folder."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mmtrain.errors import ConfigError, Interrupted, MmtrainError
from mmtrain.training.parts import CONFIG, read_config
from mmtrain.training.train import RESULT

log = logging.getLogger(__name__)

# Folder of a comparison with runs that only served to choose settings.
_TUNING: Final = "tune"


def runs_in(folders: Iterable[Path]) -> list[Path]:
    """Folders of runs, each once: those given, and of a folder that is no run all finished below.

    Runs of the tuning of a comparison are left out, for the chosen ones are there again.

    Args:
        folders: Folders of runs, comparisons and studies.

    Raises:
        ConfigError: A folder holds no run.
    """
    runs: dict[Path, Path] = {}
    for folder in folders:
        below = [folder] if (folder / CONFIG).exists() else _finished_below(folder)
        if not below:
            raise ConfigError(f"{folder} holds no run: there is no {CONFIG}, nor a finished run")
        runs |= {run.resolve(): run for run in below if run.resolve() not in runs}
    return list(runs.values())


def _finished_below(folder: Path) -> list[Path]:
    paths = [path.parent.relative_to(folder) for path in folder.rglob(RESULT)]
    wanted = [p for p in paths if not any(n == _TUNING or n.startswith(".") for n in p.parts)]
    return [folder / path for path in sorted(wanted) if (folder / path / CONFIG).exists()]


def settings_of(
    settings: Iterable[Mapping[str, float]], modalities: Iterable[str]
) -> tuple[Mapping[str, float], ...]:
    """Settings all of whose modalities are among ``modalities``.

    A unimodal model has no curve of another modality; in a comparison that is no mistake.
    """
    there = set(modalities)
    return tuple(setting for setting in settings if there.issuperset(setting))


def modalities_of(runs: Iterable[Path]) -> list[str]:
    """Modalities that some of the runs are trained on, each once."""
    return list(dict.fromkeys(m for run in runs for m in read_config(run / CONFIG).modalities))


@dataclass
class Measurements:
    """Measurements of several runs.

    Attributes:
        reports: A report for each run of which there is one.
        failed: ``run`` and ``error`` of each of the others.
        single: Whether one run was asked for by its own folder.
    """

    reports: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    single: bool = False


def measure_all(
    runs: Sequence[Path], measure: Callable[[Path], dict[str, Any]], *, raising: bool = False
) -> Measurements:
    """Measures runs, and goes on where one fails.

    Args:
        runs: Folders of the runs.
        measure: Function from the folder of a run to its report.
        raising: Whether the first failure ends it instead.

    Raises:
        Interrupted: A signal asked to stop.
    """
    result = Measurements()
    for number, run in enumerate(runs, 1):
        if len(runs) > 1:
            log.info("run %d of %d, %s", number, len(runs), run)
        try:
            result.reports.append(measure(run))
        except MmtrainError as error:
            if raising or isinstance(error, Interrupted):
                raise
            log.error("%s failed: %s", run, error)
            result.failed.append({"run": str(run), "error": str(error)})
    return result
