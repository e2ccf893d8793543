"""The runs of a comparison: which there are, and how they are carried out."""

import json
import logging
import os
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from mmtrain.comparison.charge import Charge
from mmtrain.comparison.engines import Engine, Job, Outcome
from mmtrain.comparison.engines.task import outcome_of, wait_until_free
from mmtrain.comparison.entrants import Entrant, folder_name
from mmtrain.comparison.progress import Progress, reporting
from mmtrain.comparison.table import Row
from mmtrain.config.run import TrainConfig
from mmtrain.errors import Interrupted, MmtrainError
from mmtrain.tasks.measures import rank
from mmtrain.training.train import RESULT, result_of, train
from mmtrain.training.watch import Watch

log = logging.getLogger(__name__)

Watching: TypeAlias = Callable[[int], AbstractContextManager[Watch | None]]
Result: TypeAlias = dict[str, Any]
# Time in which a result that was written on another machine must be seen here.
_SEEN_WITHIN_S: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a comparison.

    Attributes:
        label: Label of the row that it is for.
        folder: Its folder.
        config: Its config, or where that depends on tuning, one that takes as long.
        tuned: Whether tuning decides its config.
        copied: Whether it is a copy of a run of the tuning, and takes no training.
    """

    label: str
    folder: Path
    config: TrainConfig
    tuned: bool = False
    copied: bool = False


def plan_runs(entrant: Entrant, seeds: Sequence[int], folder: Path) -> list[PlannedRun]:
    """All runs of an entrant, in the order in which they are trained one after the other."""
    home = folder / entrant.label
    runs = [
        PlannedRun(label=entrant.label, folder=home / "tune" / folder_name(setting), config=config)
        for setting, config in entrant.grid.items()
    ]
    some = next(iter(entrant.grid.values()), entrant.config)
    for seed in seeds:
        one = PlannedRun(
            label=entrant.label,
            folder=home / f"seed-{seed}",
            config=replace(some, seed=seed),
            tuned=bool(entrant.grid),
            copied=bool(entrant.grid) and seed == seeds[0],
        )
        runs.append(one)
    return runs


class Trainer:
    """Trains the runs of a plan one after the other, and goes on where one fails.

    Args:
        folders: Folders of all runs, in their order.
        watching: Makes the object that shows the progress of a run.

    Attributes:
        failed: ``run`` and ``error`` of each run that failed.
        given_up: Folder of each run that has failed elsewhere, to its end; it is not tried again.
        lost: Folders of the runs that failed by no fault of their own, see `Outcome`.
    """

    def __init__(self, folders: Sequence[Path], watching: Watching) -> None:
        self._folders, self._watching = folders, watching
        self._seconds: list[float] = []
        self.failed: list[dict[str, str]] = []
        self.given_up: dict[Path, Outcome] = {}
        self.lost: set[Path] = set()

    def run(self, config: TrainConfig, folder: Path) -> Result | None:
        """The result of the run in ``folder``, trained or resumed if need be; None if it fails."""
        if folder in self.given_up:
            self._note(self.given_up[folder])
            return None
        place = self._folders.index(folder)
        finished = (folder / RESULT).exists()
        which = f"run {place + 1} of {len(self._folders)}, {folder}"
        log.info("%s%s", which, ", finished before" if finished else self._time_left(place))
        before = time.monotonic()
        try:
            wait_until_free(folder)
            with self._watching(config.epochs) as watch:
                result = train(config, folder, resume=True, watch=watch)
        except Interrupted as error:
            raise Interrupted(f"Stopped in {which}. The same command goes on from here") from error
        except Exception as error:  # A method that breaks must not cost the others.
            outcome = outcome_of(Job(config=config, folder=folder), error)
            unexpected = not isinstance(error, MmtrainError)
            log.error("%s failed: %s", folder, outcome.error, exc_info=unexpected)
            self._note(outcome)
            return None
        if not finished:
            self._seconds.append(time.monotonic() - before)
        return result

    def _note(self, outcome: Outcome) -> None:
        folder = outcome.job.folder
        self.failed.append({"run": str(folder), "error": str(outcome.error)})
        if outcome.lost:
            self.lost.add(folder)

    def _time_left(self, place: int) -> str:
        if not self._seconds:
            return ""
        left = sum(not (folder / RESULT).exists() for folder in self._folders[place:])
        return f", about {left * statistics.fmean(self._seconds):.0f} s left"


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """Carries runs out by an engine.

    Attributes:
        engine: The engine.
        charge: This command, which has the folder of the comparison.
        at_once: Number of runs at once; None for as many as the engine has room for.
    """

    engine: Engine
    charge: Charge
    at_once: int | None = None

    def carry_out(self, jobs: Sequence[Job]) -> dict[Path, Outcome]:
        """Trains or resumes runs, and leaves out those that are finished.

        Returns:
            Folder of each run that failed, to its end.

        Raises:
            Interrupted: A signal asked to stop.
        """
        left = [job for job in jobs if not (job.folder / RESULT).exists()]
        if not left:
            return {}
        failed = {job.folder: Outcome(job, "it was not begun", lost=True) for job in left}
        progress = Progress(left)
        with reporting(progress):
            for outcome in self.engine(left, charge=self.charge, at_once=self.at_once):
                outcome = _require_result(outcome)
                folder = outcome.job.folder
                del failed[folder]
                if outcome.error is not None:
                    failed[folder] = outcome
                    progress.failed.add(folder)
                how = "done" if outcome.error is None else f"failed: {outcome.error}"
                log.info("%s %s; %s", folder, how, progress.line())
        return failed

    def train_all(
        self, entrants: Sequence[Entrant], seeds: Sequence[int], folder: Path, trainer: Trainer
    ) -> None:
        """Trains all runs, those of tuning first, so that ``trainer`` finds them finished."""
        grids = [
            Job(config=config, folder=folder / entrant.label / "tune" / folder_name(setting))
            for entrant in entrants
            for setting, config in entrant.grid.items()
        ]
        trainer.given_up |= self.carry_out(grids)
        left = []
        for entrant in entrants:
            home = folder / entrant.label
            setting, config = _tune(entrant, home, trainer)
            # The run of the chosen setting is that of the first seed, see `row_of`.
            for seed in seeds if setting is None else seeds[1:]:
                if config is not None:
                    run = replace(config, seed=seed)
                    left.append(Job(config=run, folder=home / f"seed-{seed}"))
        trainer.given_up |= self.carry_out(left)
        trainer.failed.clear()


def row_of(entrant: Entrant, seeds: Sequence[int], folder: Path, trainer: Trainer) -> Row:
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
    """The setting that was best on val, never on test, and its config.

    None if all failed, or if one was lost: the next command may find that it is better.
    """
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
    lost = any(home / "tune" / folder_name(setting) in trainer.lost for setting in entrant.grid)
    return (best[1], entrant.grid[best[1]]) if best and not lost else (None, None)


def _copy(tuned: Path, folder: Path) -> None:
    """Copies the run of the chosen setting, which is also that of the first seed.

    Its result names the folder of the run.
    """
    aside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(tuned, aside, ignore=shutil.ignore_patterns(RESULT))
    text = json.dumps({**result_of(tuned), "run": str(folder)}, indent=1)
    (aside / RESULT).write_text(f"{text}\n", encoding="utf-8")
    aside.rename(folder)


def _require_result(outcome: Outcome) -> Outcome:
    """The outcome, but a failure where there is no result to be seen."""
    if outcome.error is not None or _comes_into_view(outcome.job.folder / RESULT):
        return outcome
    reason = (
        "it has ended, and its result is not seen here; give --out a place on a file system that "
        "all nodes share"
    )
    return Outcome(outcome.job, reason, lost=True)


def _comes_into_view(path: Path) -> bool:
    """Whether a file is there, or comes into view soon: network file systems remember absence."""
    end = time.monotonic() + _SEEN_WITHIN_S
    while not path.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
        # To list a folder makes its machine look again.
        with suppress(OSError):
            os.listdir(path.parent)
    return True
