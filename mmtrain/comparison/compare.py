"""Compares methods: trains what is missing of a contest, then tells what came out.

DIR/LABEL/seed-N is one run each, DIR/LABEL/tune/SETTING those by which settings are chosen. A run
that is finished is kept, one that is not goes on, so the same command may be killed and repeated.
"""

import logging
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from mmtrain import files
from mmtrain.comparison.entrants import Contest, Entrant, folder_name
from mmtrain.comparison.table import Row, markdown, row_json
from mmtrain.config.run import TrainConfig
from mmtrain.data import open_dataset
from mmtrain.errors import ConfigError, Interrupted, MmtrainError
from mmtrain.evaluation.open_run import write_json
from mmtrain.report import write
from mmtrain.training.assemble import CONFIG, config_of
from mmtrain.training.train import RESULT, train
from mmtrain.training.watch import Watch

log = logging.getLogger(__name__)

Watching: TypeAlias = Callable[[int], AbstractContextManager[Watch | None]]
Result: TypeAlias = dict[str, Any]


def compare(
    contest: Contest, folder: Path, watching: Watching = lambda epochs: nullcontext()
) -> dict[str, Any]:
    """Trains what is missing, and writes DIR/table.json, DIR/table.md and DIR/report.html.

    Args:
        contest: Who takes part.
        folder: DIR.
        watching: Makes what is told how far a run of so many epochs is.

    Returns:
        What table.json says: ``rows`` and ``failed``, the runs that are not in them.

    Raises:
        ConfigError: The request does not fit the data, or a folder of DIR holds another run.
        Interrupted: A signal asked to stop.
    """
    with open_dataset(contest.base.data) as dataset:
        entrants = contest.entrants(dataset)
    for path, config in _planned(entrants, contest.seeds, folder):
        if config is not None:
            _check(path, config)
    paths = [path for path, _ in _planned(entrants, contest.seeds, folder)]
    trainer = Trainer(paths, watching)
    rows = [_entered(entrant, contest.seeds, folder, trainer) for entrant in entrants]
    found = {
        "data": contest.base.data,
        "seeds": list(contest.seeds),
        "rows": [row_json(row) for row in rows],
        "failed": trainer.failed,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "table.json", found)
    page = markdown(found).encode()
    files.replace(folder / "table.md", lambda file: file.write(page))
    done = [folder / row.label / f"seed-{seed}" for row in rows for seed in row.results]
    if done:
        write(done, folder / "report.html")
    return found


class Trainer:
    """Trains the runs of a plan one after the other, and goes on where one fails.

    Args:
        folders: Of all runs, in their order.
        watching: Makes what is told how far a run is.

    Attributes:
        failed: ``run`` and ``error`` of each that failed.
    """

    def __init__(self, folders: Sequence[Path], watching: Watching) -> None:
        self._folders, self._watching = folders, watching
        self._seconds: list[float] = []
        self.failed: list[dict[str, str]] = []

    def run(self, config: TrainConfig, folder: Path) -> Result | None:
        """The result of the run in ``folder``, trained or resumed if need be; None if it fails."""
        place = self._folders.index(folder)
        kept = (folder / RESULT).exists()
        which = f"run {place + 1} of {len(self._folders)}, {folder}"
        log.info("%s%s", which, ", finished before" if kept else self._said(place))
        before = time.monotonic()
        try:
            with self._watching(config.epochs) as watch:
                result = train(config, folder, resume=True, watch=watch)
        except Interrupted as error:
            raise Interrupted(f"stopped in {which}. The same command goes on from here") from error
        except Exception as error:  # A method that breaks must not cost the others.
            told = str(error) if isinstance(error, MmtrainError) else repr(error)
            log.error("%s failed: %s", folder, told, exc_info=not isinstance(error, MmtrainError))
            self.failed.append({"run": str(folder), "error": told})
            return None
        if not kept:
            self._seconds.append(time.monotonic() - before)
        return result

    def _said(self, place: int) -> str:
        if not self._seconds:
            return ""
        left = sum(not (folder / RESULT).exists() for folder in self._folders[place:])
        return f", about {left * statistics.fmean(self._seconds):.0f} s left"


def _entered(entrant: Entrant, seeds: Sequence[int], folder: Path, trainer: Trainer) -> Row:
    """Tunes an entrant if need be, then runs it with every seed."""
    home = folder / entrant.label
    setting, config = _tuned(entrant, home, trainer)
    results = {}
    for seed in seeds:
        path = home / f"seed-{seed}"
        if setting is not None and seed == seeds[0] and not path.exists():
            _copy(home / "tune" / folder_name(setting), path)
        if config and (result := trainer.run(replace(config, seed=seed), path)):
            results[seed] = result
    config = config or entrant.config
    return Row(label=entrant.label, config=config, setting=setting, results=results)


def _tuned(entrant: Entrant, home: Path, trainer: Trainer) -> tuple[str | None, TrainConfig | None]:
    """The setting that was best on val, never on test, and its config; None if all failed."""
    if not entrant.grid:
        return None, entrant.config
    best: tuple[tuple[float, float], str] | None = None
    for setting, config in entrant.grid.items():
        result = trainer.run(config, home / "tune" / folder_name(setting))
        if result is None:
            continue
        rank = (result["val"][config.select], -result["val"]["loss"])
        if best is None or rank > best[0]:
            best = rank, setting
    return (best[1], entrant.grid[best[1]]) if best else (None, None)


def _copy(tuned: Path, folder: Path) -> None:
    """The run of the chosen setting is also that of the first seed; its result names its folder."""
    aside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(tuned, aside, ignore=shutil.ignore_patterns(RESULT))
    aside.rename(folder)


def _planned(
    entrants: Sequence[Entrant], seeds: Sequence[int], folder: Path
) -> list[tuple[Path, TrainConfig | None]]:
    """Every run's folder, and its config where that does not depend on tuning."""
    found: list[tuple[Path, TrainConfig | None]] = []
    for entrant in entrants:
        home = folder / entrant.label
        found += [(home / "tune" / folder_name(s), config) for s, config in entrant.grid.items()]
        for seed in seeds:
            config = None if entrant.grid else replace(entrant.config, seed=seed)
            found.append((home / f"seed-{seed}", config))
    return found


def _check(folder: Path, config: TrainConfig) -> None:
    if not (folder / CONFIG).exists():
        return
    if changed := config_of(folder).differences(config):
        raise ConfigError(
            f"{folder} holds another run: {'; '.join(changed)}. Compare as before, or choose "
            "another --out"
        )
