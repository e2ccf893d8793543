"""Dry run of a comparison: its runs, and the hours and bytes of those that are left."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from mmtrain.comparison.compare import entrants_of
from mmtrain.comparison.engines import Job
from mmtrain.comparison.entrants import Contest, Entrant
from mmtrain.comparison.progress import epochs_done
from mmtrain.comparison.runs import PlannedRun, plan_runs
from mmtrain.config.run import TrainConfig
from mmtrain.errors import MmtrainError
from mmtrain.training.estimate import Estimate, estimate
from mmtrain.training.train import RESULT

log = logging.getLogger(__name__)

# Parts of a config that do not change how long an epoch takes.
_FREE: Final = ("seed", "optimizer", "schedule", "select")
# Choices whose parameters do not change it either, or hardly.
_FREE_SETTINGS: Final = ("method", "fusion")
# Values of an estimate that a row of the table has too.
_OF_A_ROW: Final = ("parameters", "steps_an_epoch", "seconds_an_epoch", "bytes_an_epoch")


def dry_run(contest: Contest, folder: Path) -> dict[str, Any]:
    """Counts the runs, and measures a few steps of each kind of row; writes nothing.

    Args:
        contest: Entrants, and their common settings.
        folder: Folder of the comparison, where finished runs may lie.

    Returns:
        ``runs`` that are trained, ``tuning`` runs among them, ``finished`` ones, ``seconds`` and
        ``bytes`` of the others, and the same by row in ``rows``; a row that cannot be measured has
        an ``error`` and counts for nothing.

    Raises:
        ConfigError: The request does not fit the data, or a folder of DIR holds another run.
        UnknownName: No row has the name of the baseline.
    """
    estimates: dict[str, Estimate | str] = {}
    rows = [
        _row(entrant, contest.seeds, folder, estimates) for entrant in entrants_of(contest, folder)
    ]
    names = ("runs", "tuning", "finished", "epochs", "seconds", "bytes")
    totals = {name: sum(row[name] for row in rows) for name in names}
    return {"out": str(folder), "dry_run": True, **totals, "rows": rows}


def _row(
    entrant: Entrant, seeds: Sequence[int], folder: Path, estimates: dict[str, Estimate | str]
) -> dict[str, Any]:
    runs = [run for run in plan_runs(entrant, seeds, folder) if not run.copied]
    left = [run for run in runs if not (run.folder / RESULT).exists()]
    row: dict[str, Any] = {
        "label": entrant.label,
        "runs": len(runs),
        "tuning": len(entrant.grid),
        "finished": len(runs) - len(left),
        "epochs": 0,
        "seconds": 0.0,
        "bytes": 0,
    }
    for run in left:
        kind = _kind(run.config)
        if kind not in estimates:
            log.info("measuring a few steps of %s", entrant.label)
            estimates[kind] = _try_estimate(run.config)
        row |= _with_run(row, run, estimates[kind])
    return row


def _with_run(row: Mapping[str, Any], run: PlannedRun, each: Estimate | str) -> dict[str, Any]:
    """The values of a row that change when one run is added."""
    if isinstance(each, str):
        return {"error": each}
    epochs = run.config.epochs - epochs_done(Job(config=run.config, folder=run.folder))
    return {
        **{name: asdict(each)[name] for name in _OF_A_ROW},
        "epochs": row["epochs"] + epochs,
        "seconds": row["seconds"] + epochs * each.seconds_an_epoch,
        "bytes": row["bytes"] + epochs * each.bytes_an_epoch,
    }


def _try_estimate(config: TrainConfig) -> Estimate | str:
    """Estimate of a run, or the reason for which it would fail."""
    try:
        return estimate(config)
    except MmtrainError as error:
        return str(error)
    except Exception as error:  # A method that breaks must not cost the others.
        log.error("a run of %s failed", config.method, exc_info=True)
        return repr(error)


def _kind(config: TrainConfig) -> str:
    """The same text for configs whose epochs take about as long."""
    defaults = {name: getattr(TrainConfig(data=""), name) for name in _FREE}
    settings = {c: v for c, v in config.settings.items() if c not in _FREE_SETTINGS}
    return repr(replace(config, **defaults, settings=settings))
