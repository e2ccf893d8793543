"""What a comparison finds: each row against a baseline, sample by sample and seed by seed."""

import logging
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmtrain.comparison.statistics import holm, interval, paired, verdict
from mmtrain.comparison.table import Row
from mmtrain.errors import MmtrainError
from mmtrain.evaluation.sample_scores import SampleScores, sample_scores
from mmtrain.metrics import mean_and_std

log = logging.getLogger(__name__)


def findings(
    rows: Sequence[Row], folder: Path, split: str, baselines: Mapping[str, str], data: str
) -> dict[str, dict[str, Any]]:
    """Label of each row to what its samples show; rows whose samples cannot be had are left out.

    ``interval`` is that of the mean score over seeds, ``shares`` and ``calibration`` those of
    `mmtrain.evaluation.sample_scores`, with mean and deviation over seeds. ``against`` compares
    with the baseline where both have runs of the same seeds; its ``p`` is corrected for the number
    of rows that are compared.

    Args:
        rows: Rows with their results.
        folder: Folder of the comparison.
        split: Name of the split that was measured.
        baselines: Label of a row to that of the row with which it is compared, if with any.
        data: Place of the shards.
    """
    scores = {row.label: _of_row(row, folder, split, data) for row in rows}
    found = {label: _alone(by_seed) for label, by_seed in scores.items() if by_seed}
    differences = {}
    for label, by_seed in scores.items():
        base = scores.get(baselines.get(label, ""), {})
        seeds = [seed for seed in by_seed if seed in base]
        if label != baselines.get(label) and seeds:
            pairs = [(by_seed[seed], base[seed]) for seed in seeds]
            differences[label] = paired(*_aligned(pairs)), len(seeds)
    corrected = holm([difference.p for difference, _ in differences.values()])
    for (label, (difference, count)), p in zip(differences.items(), corrected, strict=True):
        found[label]["against"] = {
            "baseline": baselines[label],
            "seeds": count,
            "mean": difference.mean,
            "low": difference.low,
            "high": difference.high,
            "p": p,
            "verdict": verdict(difference, p),
        }
    return found


def _of_row(row: Row, folder: Path, split: str, data: str) -> dict[int, SampleScores]:
    """Seed to the scores of its run."""
    scores = {}
    for seed in row.results:
        run = folder / row.label / f"seed-{seed}"
        try:
            scores[seed] = sample_scores(run, split, data)
        except MmtrainError as error:  # A run that cannot be opened any more keeps its results.
            log.warning("%s: not compared sample by sample: %s", run, error)
    return scores


def _alone(by_seed: Mapping[int, SampleScores]) -> dict[str, Any]:
    runs = [*by_seed.values()]
    low, high = interval([float(run.scores.mean()) for run in runs])
    finite = np.isfinite([low, high]).all()
    return {
        "interval": [low, high] if finite else None,
        "shares": {m: mean_and_std([run.shares[m] for run in runs]) for m in runs[0].shares},
        "calibration": None
        if np.isnan(runs[0].calibration)
        else mean_and_std([run.calibration for run in runs]),
    }


def _aligned(
    pairs: Sequence[tuple[SampleScores, SampleScores]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores (seeds, samples) of both, of the samples that all runs have predicted."""
    runs = [run for pair in pairs for run in pair]
    common = reduce(np.intersect1d, [run.ids for run in runs])
    places = [run.scores[np.searchsorted(run.ids, common)] for run in runs]
    return np.stack(places[::2]), np.stack(places[1::2])
