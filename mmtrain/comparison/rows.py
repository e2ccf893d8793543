"""Finished runs in the folder of a comparison, whichever command trained them."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from mmtrain.comparison.table import Row
from mmtrain.config.overrides import with_defaults
from mmtrain.config.run import TrainConfig
from mmtrain.training.parts import CONFIG, config_of, read_config
from mmtrain.training.train import RESULT, result_of

# End of the label of a unimodal model.
ALONE: Final = "-alone"


def finished_runs(home: Path) -> dict[int, Path]:
    """Seed to the folder of the run that has a result, ascending, in the folder of an entrant."""
    numbers = ((re.fullmatch(r"seed-(\d+)", path.name), path) for path in home.glob("seed-*"))
    runs = {int(match[1]): path for match, path in numbers if match and (path / RESULT).exists()}
    return dict(sorted(runs.items()))


def with_earlier_seeds(row: Row, home: Path) -> Row:
    """The row with the results of seeds that earlier commands trained in the same way."""
    earlier = {
        seed: read_result(path)
        for seed, path in finished_runs(home).items()
        if seed not in row.results and not differing(path, row.config)
    }
    return replace(row, results={**row.results, **earlier})


def earlier_rows(folder: Path, labels: Iterable[str]) -> list[Row]:
    """Rows of entrants in ``folder`` that are not among ``labels``, by name."""
    taken = set(labels)
    rows = []
    for home in sorted(path for path in folder.iterdir() if path.is_dir()):
        runs = finished_runs(home)
        if runs and home.name not in taken:
            config = read_config(next(iter(runs.values())) / CONFIG)
            results = {seed: read_result(path) for seed, path in runs.items()}
            setting = _setting_of(home, config)
            rows.append(Row(label=home.name, config=config, setting=setting, results=results))
    return rows


def differing(folder: Path, config: TrainConfig) -> list[str]:
    """One line for each value, the seed apart, that the run in ``folder`` has otherwise."""
    held = with_defaults(config_of(folder))
    return held.differences(replace(config, seed=held.seed))


def read_result(folder: Path) -> dict[str, Any]:
    """The result of the run in ``folder``; names the folder, which may have been moved."""
    return {**result_of(folder), "run": str(folder)}


def _setting_of(home: Path, config: TrainConfig) -> str | None:
    """The tuned setting by which ``config`` was chosen; None if nothing was tuned."""
    for path in sorted(home.glob("tune/*")):
        if (path / CONFIG).exists() and not differing(path, config):
            return unquote(path.name)
    return None
