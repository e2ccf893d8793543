"""Comparison of methods: trains the runs that are missing, then writes one table of all runs.

DIR/LABEL/seed-N is one run each, DIR/LABEL/tune/SETTING those by which settings are chosen. A
finished run is kept and an unfinished one goes on, so the same command may be killed and repeated,
and a command with other methods or seeds adds to the table of the first.
"""

import logging
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from mmtrain import files
from mmtrain.comparison.against import findings
from mmtrain.comparison.entrants import Contest, Entrant, folder_name
from mmtrain.comparison.evaluations import measure_rows
from mmtrain.comparison.jobs import Job, run_jobs
from mmtrain.comparison.layouts import as_csv, as_latex
from mmtrain.comparison.rows import differing, earlier_rows, finished_runs, with_earlier_seeds
from mmtrain.comparison.table import Row, markdown, row_json
from mmtrain.config.overrides import with_defaults
from mmtrain.config.run import TrainConfig
from mmtrain.errors import ConfigError, Interrupted, MmtrainError, UnknownName
from mmtrain.evaluation.open_run import write_json
from mmtrain.report import write
from mmtrain.tasks.measures import rank
from mmtrain.training.parts import CONFIG, config_of, shards_of
from mmtrain.training.train import RESULT, train
from mmtrain.training.watch import Watch

log = logging.getLogger(__name__)

Watching: TypeAlias = Callable[[int], AbstractContextManager[Watch | None]]
Result: TypeAlias = dict[str, Any]
STUDY: Final = "study.toml"
# Files of the table beside table.json.
_LAYOUTS: Final = {"table.md": markdown, "table.csv": as_csv, "table.tex": as_latex}


def compare(
    contest: Contest,
    folder: Path,
    watching: Watching = lambda epochs: nullcontext(),
    jobs: int = 1,
) -> dict[str, Any]:
    """Trains the missing runs, and writes DIR/table.{json,md,csv,tex} and DIR/report.html.

    Args:
        contest: Entrants, and their common settings.
        folder: Folder of the comparison.
        watching: Makes the object that shows the progress of a run of so many epochs.
        jobs: Number of runs at once, each in a process of its own where it is above 1.

    Returns:
        The content of table.json: ``rows`` of all finished runs in ``folder``, the labels of those
        that are there from an ``earlier`` command, and ``failed``, the runs that are in no row or
        that could not be measured.

    Raises:
        ConfigError: The request does not fit the data, or a folder of DIR holds another run.
        UnknownName: No row has the name of the baseline.
        Interrupted: A signal asked to stop.
    """
    with shards_of(contest.base) as dataset:
        entrants = contest.entrants(dataset)
        contest.evaluations.require([entrant.config for entrant in entrants], dataset)
    labels = [entrant.label for entrant in entrants]
    known = (*labels, Contest.baseline, *_folders(folder))
    if contest.baseline not in known and not contest.baselines:
        raise UnknownName("row of this comparison", contest.baseline, labels)
    for entrant in entrants:
        _refuse_other_runs(entrant, contest.seeds, folder)
    if contest.study:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / STUDY, contest.study)
    paths = [path for path, _ in _planned(entrants, contest.seeds, folder)]
    trainer = Trainer(paths, watching)
    if jobs > 1:
        _train_side_by_side(entrants, contest.seeds, folder, trainer, jobs)
    asked = [_row_of(entrant, contest.seeds, folder, trainer) for entrant in entrants]
    folder.mkdir(parents=True, exist_ok=True)
    rows = [with_earlier_seeds(row, folder / row.label) for row in asked]
    earlier = earlier_rows(folder, [row.label for row in rows])
    rows += earlier
    described = [row_json(row) for row in rows]
    splits = {row["split"] for row in described} - {None}
    measured, unmeasured = measure_rows(rows, folder, contest.evaluations, contest.base.data)
    found = {}
    if len(splits) == 1 and len(rows) > 1:
        baselines = {row.label: contest.baseline for row in rows} | dict(contest.baselines)
        found = findings(rows, folder, splits.pop(), baselines, contest.base.data)
    table = {
        "data": contest.base.data,
        "baseline": contest.baseline,
        "seeds": list(dict.fromkeys((*contest.seeds, *(seed for r in rows for seed in r.results)))),
        "rows": [
            {**row, **found.get(row["label"], {}), **measured.get(row["label"], {})}
            for row in described
        ],
        "earlier": [row.label for row in earlier],
        "failed": [*trainer.failed, *unmeasured],
    }
    write_json(folder / "table.json", table)
    for name, layout in _LAYOUTS.items():
        _write(folder / name, layout(table))
    runs = [folder / row.label / f"seed-{seed}" for row in rows for seed in row.results]
    if runs:
        write(runs, folder / "report.html")
    return table


def _folders(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def _write(path: Path, text: str) -> None:
    files.replace(path, lambda file: file.write(text.encode()))


class Trainer:
    """Trains the runs of a plan one after the other, and goes on where one fails.

    Args:
        folders: Folders of all runs, in their order.
        watching: Makes the object that shows the progress of a run.

    Attributes:
        failed: ``run`` and ``error`` of each run that failed.
        given_up: Folder of each run that has failed elsewhere, to its error; it is not tried again.
    """

    def __init__(self, folders: Sequence[Path], watching: Watching) -> None:
        self._folders, self._watching = folders, watching
        self._seconds: list[float] = []
        self.failed: list[dict[str, str]] = []
        self.given_up: dict[Path, str] = {}

    def run(self, config: TrainConfig, folder: Path) -> Result | None:
        """The result of the run in ``folder``, trained or resumed if need be; None if it fails."""
        if folder in self.given_up:
            self.failed.append({"run": str(folder), "error": self.given_up[folder]})
            return None
        place = self._folders.index(folder)
        finished = (folder / RESULT).exists()
        which = f"run {place + 1} of {len(self._folders)}, {folder}"
        log.info("%s%s", which, ", finished before" if finished else self._time_left(place))
        before = time.monotonic()
        try:
            with self._watching(config.epochs) as watch:
                result = train(config, folder, resume=True, watch=watch)
        except Interrupted as error:
            raise Interrupted(f"Stopped in {which}. The same command goes on from here") from error
        except Exception as error:  # A method that breaks must not cost the others.
            message = str(error) if isinstance(error, MmtrainError) else repr(error)
            unexpected = not isinstance(error, MmtrainError)
            log.error("%s failed: %s", folder, message, exc_info=unexpected)
            self.failed.append({"run": str(folder), "error": message})
            return None
        if not finished:
            self._seconds.append(time.monotonic() - before)
        return result

    def _time_left(self, place: int) -> str:
        if not self._seconds:
            return ""
        left = sum(not (folder / RESULT).exists() for folder in self._folders[place:])
        return f", about {left * statistics.fmean(self._seconds):.0f} s left"


def _train_side_by_side(
    entrants: Sequence[Entrant], seeds: Sequence[int], folder: Path, trainer: Trainer, jobs: int
) -> None:
    """Trains all runs, those of tuning first, so that the trainer finds them finished."""
    grids = [
        Job(config=config, folder=folder / entrant.label / "tune" / folder_name(setting))
        for entrant in entrants
        for setting, config in entrant.grid.items()
    ]
    trainer.given_up |= run_jobs(grids, jobs)
    left = []
    for entrant in entrants:
        home = folder / entrant.label
        setting, config = _tune(entrant, home, trainer)
        # The run of the chosen setting is that of the first seed, see `_row_of`.
        for seed in seeds if setting is None else seeds[1:]:
            if config is not None:
                run = replace(config, seed=seed)
                left.append(Job(config=run, folder=home / f"seed-{seed}"))
    trainer.given_up |= run_jobs(left, jobs)
    trainer.failed.clear()


def _row_of(entrant: Entrant, seeds: Sequence[int], folder: Path, trainer: Trainer) -> Row:
    """Tunes an entrant if need be, then runs it with every seed."""
    home = folder / entrant.label
    setting, config = _tune(entrant, home, trainer)
    results = {}
    for seed in seeds:
        path = home / f"seed-{seed}"
        if setting is not None and seed == seeds[0] and not path.exists():
            _copy(home / "tune" / folder_name(setting), path)
        if config and (result := trainer.run(replace(config, seed=seed), path)):
            results[seed] = result
    config = config or entrant.config
    return Row(label=entrant.label, config=config, setting=setting, results=results)


def _tune(entrant: Entrant, home: Path, trainer: Trainer) -> tuple[str | None, TrainConfig | None]:
    """The setting that was best on val, never on test, and its config; None if all failed."""
    if not entrant.grid:
        return None, entrant.config
    best: tuple[tuple[float, float], str] | None = None
    for setting, config in entrant.grid.items():
        result = trainer.run(config, home / "tune" / folder_name(setting))
        if result is None:
            continue
        val = result["val"]
        place = (rank(config.select, val[config.select]), -val["loss"])
        if best is None or place > best[0]:
            best = place, setting
    return (best[1], entrant.grid[best[1]]) if best else (None, None)


def _copy(tuned: Path, folder: Path) -> None:
    """Copies the run of the chosen setting, which is also that of the first seed.

    Its result names the folder of the run and is left out; `train` writes it anew.
    """
    aside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(tuned, aside, ignore=shutil.ignore_patterns(RESULT))
    aside.rename(folder)


def _planned(
    entrants: Sequence[Entrant], seeds: Sequence[int], folder: Path
) -> list[tuple[Path, TrainConfig | None]]:
    """Every run's folder, and its config where that does not depend on tuning."""
    plan: list[tuple[Path, TrainConfig | None]] = []
    for entrant in entrants:
        home = folder / entrant.label
        plan += [(home / "tune" / folder_name(s), config) for s, config in entrant.grid.items()]
        for seed in seeds:
            config = None if entrant.grid else replace(entrant.config, seed=seed)
            plan.append((home / f"seed-{seed}", config))
    return plan


def _refuse_other_runs(entrant: Entrant, seeds: Sequence[int], folder: Path) -> None:
    """Refuses an entrant whose folder holds runs that would not belong in one row with its own.

    Raises:
        ConfigError: There is such a run; names it and what differs.
    """
    for path, config in _planned([entrant], seeds, folder):
        if config is not None and (path / CONFIG).exists():
            _refuse(path, with_defaults(config_of(path)).differences(config))
    if not entrant.grid:
        for path in finished_runs(folder / entrant.label).values():
            _refuse(path, differing(path, entrant.config))


def _refuse(folder: Path, differences: Sequence[str]) -> None:
    if differences:
        raise ConfigError(
            f"{folder} holds another run: {'; '.join(differences)}. Compare as before, or choose "
            "another --out"
        )
