"""Linear probes of the encoders of a model, as it is: features, and heads that are fitted on them.

A head is logistic regression on standardised features, see `mmtrain.training.regression`. The train
split gives statistics and weights, val the strength of the penalty; the reported split has no
influence on any of them.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.errors import DataError, RunError
from mmtrain.metrics import measures
from mmtrain.training.passes import EvaluationPass, finite_rows
from mmtrain.training.regression import Examples, fit, logits_of
from mmtrain.types import Batch

# From the strongest to the weakest, so that each fit starts near its solution.
STRENGTHS: Final = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
# Strength where there is no val split to choose one on.
FIXED: Final = 1e-3
# A feature with a smaller deviation is constant but for rounding, which must not be amplified.
_STD_FLOOR: Final = 1e-6


def features_of(
    evaluation: EvaluationPass, split: str, ids: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], dict[str, Examples]]:
    """Ids of samples, and modality to their features, in one pass in the evaluation view.

    Damaged samples that the run skips are left out.

    Args:
        evaluation: Passes of the model.
        split: Name of the split.
        ids: Ids of the samples of it that are wanted, ascending; all by default.

    Raises:
        DataError: Every sample is damaged.
        RunError: A feature is not finite; names modality and sample.
    """
    model, dataset = evaluation.model, evaluation.feed.dataset
    modalities = model.modalities
    ids = dataset.ids(split) if ids is None else ids

    def encoded(batch: Batch) -> Tensor:
        features = model.encode(batch)
        for modality in modalities:
            broken = batch.ids[~finite_rows(features[modality]) & ~batch.filler].tolist()
            if broken:
                raise RunError(
                    f"the {modality} encoder gives no number for sample {dataset.key(broken[0])} "
                    f"of {split}; train it again with a lower lr, or set clip"
                )
        return torch.cat([features[m] for m in modalities], dim=1)

    features = evaluation.score(encoded, ids)
    # Rows that are still NaN were never encoded: their samples are damaged and were skipped.
    there = finite_rows(features)
    if not bool(there.any()):
        raise DataError(f"{dataset.store.url}: every sample of {split} is damaged")
    labels = evaluation.task.labels(dataset.annotations.of(ids))
    target = torch.from_numpy(labels).to(features.device)
    parts = torch.split(features[there], [model.feature_widths[m] for m in modalities], dim=1)
    examples = {m: Examples(part, target[there]) for m, part in zip(modalities, parts, strict=True)}
    return ids[there.cpu().numpy()], examples


def examples_of(evaluation: EvaluationPass, split: str) -> dict[str, dict[str, Examples]]:
    """Split to modality to its examples: of train, of val if there is one, and of ``split``.

    Args:
        evaluation: Passes of the model.
        split: Name of the reported split.
    """
    val = ("val",) if evaluation.feed.dataset.splits.get("val") else ()
    names = dict.fromkeys(("train", *val, split))
    return {name: features_of(evaluation, name)[1] for name in names}


def accuracy_by_modality(evaluation: EvaluationPass, split: str, classes: int) -> dict[str, float]:
    """Modality to the accuracy of its probe on ``split``.

    Args:
        evaluation: Passes of the model.
        split: Name of the reported split.
        classes: Number of classes.
    """
    examples = examples_of(evaluation, split)
    return {
        m: measure_probe({s: each[m] for s, each in examples.items()}, split, classes)[0][
            "accuracy"
        ]
        for m in evaluation.model.modalities
    }


def measure_probe(
    examples: Mapping[str, Examples], split: str, classes: int
) -> tuple[dict[str, float], float]:
    """Measures on ``split`` of a head fitted on train, and the strength that was best on val.

    Best is the highest accuracy, then the lowest loss. Without val the strength is `FIXED`.

    Args:
        examples: Examples of ``train``, of ``val`` if there is one, and of ``split``.
        split: Name of the reported split, on which only the chosen head is measured.
        classes: Number of classes.
    """
    train = examples["train"]
    std, mean = torch.std_mean(train.features.double(), dim=0, correction=0)
    scale = torch.where(std > _STD_FLOOR, std, torch.inf)

    def standard(features: Tensor) -> Tensor:
        return (features.double() - mean) / scale

    start = torch.zeros(
        train.features.shape[1] + 1, classes, dtype=torch.float64, device=std.device
    )
    standardised = Examples(standard(train.features), train.target)
    chooser = examples.get("val", train)
    fits: list[tuple[tuple[float, float], float, Tensor]] = []
    for strength in STRENGTHS if "val" in examples else (FIXED,):
        head = fit(standardised, fits[-1][2] if fits else start, strength)
        values = measures(logits_of(standard(chooser.features), head), chooser.target)
        fits.append(((values["accuracy"], -values["loss"]), strength, head))
    _, strength, head = max(fits, key=lambda each: each[0])
    reported = examples[split]
    return measures(logits_of(standard(reported.features), head), reported.target), strength
