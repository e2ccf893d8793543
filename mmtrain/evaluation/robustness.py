"""Evaluations of several runs with the same missing modalities and the same noise."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmtrain.evaluation.evaluate import evaluate
from mmtrain.evaluation.many import Measurements, measure_all, modalities_of, runs_in, settings_of
from mmtrain.evaluation.missing import Missing
from mmtrain.evaluation.noise import Noise
from mmtrain.evaluation.settings import modalities_in


def evaluate_all(
    folders: Sequence[Path], missing: Missing, noise: Noise, **options: Any
) -> Measurements:
    """Evaluates runs, see `mmtrain.evaluation.evaluate.evaluate`.

    Args:
        folders: Folders of runs, or of comparisons and studies, see `runs_in`.
        missing: Modalities to take away.
        noise: Noise to put on modalities.
        options: Other arguments of `evaluate`.

    Raises:
        ConfigError: A folder holds no run; of a single run, also what `evaluate` refuses.
        UnknownName: A modality that no run was trained on.
    """
    runs = runs_in(folders)
    if runs == list(folders) and len(runs) == 1:
        report = evaluate(runs[0], missing=missing, noise=noise, **options)
        return Measurements(reports=[report], single=True)
    return evaluate_each(runs, missing, noise, **options)


def evaluate_each(
    runs: Sequence[Path], missing: Missing, noise: Noise, **options: Any
) -> Measurements:
    """Evaluates several runs, and goes on where one fails.

    Each run has the settings of the modalities that it was trained on. For the arguments see
    `evaluate_all`.

    Raises:
        UnknownName: A modality that no run was trained on.
    """
    modalities_in((*missing.rates, *noise.levels), modalities_of(runs))

    def measure(run: Path) -> dict[str, Any]:
        own = modalities_of([run])
        return evaluate(
            run,
            missing=replace(missing, rates=settings_of(missing.rates, own)),
            noise=replace(noise, levels=settings_of(noise.levels, own)),
            **options,
        )

    return measure_all(runs, measure)
