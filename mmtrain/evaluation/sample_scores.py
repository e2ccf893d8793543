"""Scores of single samples, by which runs are compared, and what follows from them.

RUN/samples-SPLIT.npz keeps them, because each table of a comparison asks for those of all its runs.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from mmtrain import files
from mmtrain.evaluation.evaluate import predictions
from mmtrain.evaluation.measured import weights_digest
from mmtrain.evaluation.open_run import open_run, require_split
from mmtrain.functional.shapley import shapley, subsets
from mmtrain.metrics import calibration_error
from mmtrain.tasks.needs import PROBABILITY
from mmtrain.training.run import Run

# Of more modalities, the sets take too many passes.
_MOST_MODALITIES: Final = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleScores:
    """Scores of the n samples of a split.

    Attributes:
        ids: (n,) ids of the samples, ascending; skipped ones are not among them.
        scores: (n,) score of each sample by all modalities; more is better, and the mean is the
            first measure of the task: 1 where it is right, its share of right segments, or less its
            absolute error.
        shares: Modality to what it adds to the mean score, see `shares_of`; empty where the task
            has no score of chance.
        calibration: Expected calibration error of the fused probabilities, in [0, 1]; NaN where
            there are none.
        by_modality: Modality to (n,), the same scores of its own logits.
        classes: Class names in the order of their ids; empty where the task has none.
        labels: (n,) class id of each sample; empty where the task has none.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    shares: Mapping[str, float]
    calibration: float
    by_modality: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def sample_scores(folder: Path, split: str, data: str | None = None) -> SampleScores:
    """Scores of the best weights of the run in ``folder``; predicts only where they are not kept.

    Args:
        folder: Folder of the run.
        split: Name of the split.
        data: Place of the shards, if they have moved.

    Raises:
        ConfigError: No such run or split, or no best weights yet.
        DataError: The weights are damaged or were trained on other data, or a sample is damaged.
        RunError: A prediction is not finite.
    """
    path = folder / f"samples-{split}.npz"
    weights = weights_digest(folder)
    if (kept := _read(path, weights)) is not None:
        return kept
    with open_run(folder, data) as run:
        require_split(run, split)
        made = _measured(run, split)
    write_scores(path, made, weights)
    return made


def write_scores(path: Path, made: SampleScores, weights: str) -> None:
    """Keeps scores in a file.

    Args:
        path: The file.
        made: The scores.
        weights: SHA-256 of the weights that they are of.
    """
    plain: dict[str, Any] = {f"share.{m}": share for m, share in made.shares.items()}
    plain |= {f"scores.{m}": scores for m, scores in made.by_modality.items()}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        weights=weights,
        ids=made.ids,
        scores=made.scores,
        calibration=made.calibration,
        classes=np.array(made.classes, str),
        labels=made.labels,
        **plain,
    )
    files.replace(path, lambda file: file.write(buffer.getvalue()))


def kept_scores(folder: Path, split: str) -> SampleScores | None:
    """Scores that RUN/samples-SPLIT.npz keeps of the best weights; None where there are none."""
    weights = weights_digest(folder)
    return _read(folder / f"samples-{split}.npz", weights) if weights else None


def shares_of(values: Mapping[tuple[str, ...], float], chance: float) -> dict[str, float]:
    """Shapley share of each modality in a mean score: its gain, averaged over all orders.

    Args:
        values: Set of modalities to the mean score where only these are shown.
        chance: Score of the empty set.

    Returns:
        Modality to its share; they sum to the score of all less ``chance``.
    """
    modalities = max(values, key=len)
    above = {chosen: torch.tensor(value - chance) for chosen, value in values.items()}
    return {m: float(share) for m, share in shapley(above, modalities).items()}


def _measured(run: Run, split: str) -> SampleScores:
    modalities, task = tuple(run.model.modalities), run.task
    classes = PROBABILITY in task.gives
    sets = [s for s in subsets(modalities) if len(s) < len(modalities)]
    if len(modalities) > _MOST_MODALITIES or not classes:
        sets = []
    count = len(run.feed.dataset.ids(split))
    masks = [{m: np.full(count, m in chosen) for m in modalities} for chosen in sets]
    ids, fused, own, masked, _ = predictions(run, split, masks)
    truth = run.feed.dataset.annotations.of(ids)
    scores = task.sample_scores(fused, truth)
    shares: dict[str, float] = {}
    calibration = float("nan")
    if classes:
        decisions, target = task.decisions(fused), torch.from_numpy(task.targets(truth))
        calibration = calibration_error(decisions.softmax(-1), task.decided(target))
        if sets:
            values = {
                s: float(task.sample_scores(z, truth).mean())
                for s, z in zip(sets, masked, strict=True)
            }
            chance = 1 / decisions.shape[-1]
            shares = shares_of({**values, modalities: float(scores.mean())}, chance)
    return SampleScores(
        ids=ids,
        scores=scores,
        shares=shares,
        calibration=calibration,
        by_modality={m: task.sample_scores(logits, truth) for m, logits in own.items()},
        classes=task.classes(truth) if classes else (),
        labels=task.labels(truth) if classes else np.zeros(0, np.int64),
    )


def _read(path: Path, weights: str) -> SampleScores | None:
    """The file's content if it is whole and of these weights; else None, and it is made anew."""
    try:
        # NumPy leaves a file open that is no archive; this one closes it.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if str(file["weights"]) != weights:
                return None
            return SampleScores(
                ids=file["ids"].astype(np.int64),
                scores=file["scores"].astype(np.float64),
                shares={m: float(share) for m, share in _by_modality(file, "share.")},
                calibration=float(file["calibration"]),
                by_modality={m: v.astype(np.float64) for m, v in _by_modality(file, "scores.")},
                classes=tuple(map(str, file["classes"])),
                labels=file["labels"].astype(np.int64),
            )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _by_modality(file: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Modality and array of each name that begins with ``prefix``."""
    for name in file:
        if name.startswith(prefix):
            yield name.removeprefix(prefix), file[name]
