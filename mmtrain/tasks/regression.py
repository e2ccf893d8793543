"""Regression: a score for each sample, learnt by the absolute difference."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.tasks.annotations import Annotations
from mmtrain.tasks.opinion import MEASURED, score_measures
from mmtrain.tasks.task import Task

# More points than this are no longer told apart in a picture, nor needed in a file.
_POINTS: Final = 2000


@dataclass(frozen=True)
class Regression(Task):
    """Absolute difference of prediction and score: ``|f - y|``, the L1 loss.

    Measures are MAE, Pearson's correlation, Acc-7 and Acc-5 (scores rounded to -3..3 and -2..2),
    and accuracy and weighted F1 of the sign by both conventions, ``nonzero`` and ``nonnegative``.
    A score has no probability, so what weighs modalities by one refuses this task.

    Args:
        outputs: Number of scores of a sample, 1.
    """

    name: ClassVar[str] = "regression"
    measured: ClassVar[tuple[str, ...]] = MEASURED
    outputs: int = 1

    @classmethod
    def of(cls, data: Annotations) -> Self:
        if data.scores is None:
            raise ConfigError(
                f"{data.place}: the task regression learns a score; the data have none"
            )
        return cls(1)

    def targets(self, data: Annotations) -> NDArray[np.float32]:
        return np.asarray(_scores(data), np.float32)

    def losses(
        self, logits: Float[Tensor, "batch 1"], target: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """``|logits - target|`` of each sample."""
        return (logits[:, 0] - target).abs()

    def sample_scores(self, logits: Tensor, data: Annotations) -> NDArray[np.float64]:
        """(n,) ``-|logits - target|`` of each sample, whose mean is less the MAE."""
        guess = logits[:, 0].cpu().numpy().astype(np.float64)
        return np.asarray(-np.abs(guess - self.targets(data)), np.float64)

    def measures(
        self, fused: Tensor, by_modality: Mapping[str, Tensor], data: Annotations
    ) -> dict[str, Any]:
        """Measures of the fused predictions, and under ``modalities`` of each modality's own."""
        truth = self.targets(data)

        def of_head(logits: Tensor) -> dict[str, Any]:
            values = score_measures(truth, logits[:, 0].cpu().numpy())
            return {**values, "loss": values["mae"]}

        own = {m: of_head(logits) for m, logits in by_modality.items()}
        return {**of_head(fused), "modalities": own}

    def details(self, fused: Tensor, data: Annotations) -> dict[str, Any]:
        """``scatter``: true and predicted scores, of samples evenly spread over the split."""
        step = -(-len(fused) // _POINTS)
        truth, guess = self.targets(data)[::step], fused[::step, 0].cpu().numpy()
        return {
            "scatter": {
                "true": [round(float(t), 4) for t in truth],
                "predicted": [round(float(p), 4) for p in guess],
            }
        }


def _scores(data: Annotations) -> NDArray[np.float32]:
    if data.scores is None:
        raise ConfigError(f"{data.place}: samples have no score")
    return data.scores
