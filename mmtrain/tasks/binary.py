"""Binary classification: two classes, or the sign of a score."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.metrics import measures
from mmtrain.tasks.annotations import Annotations
from mmtrain.tasks.classification import Classification
from mmtrain.tasks.opinion import sign_measures, weighted_f1

_SIGNS: Final = ("negative", "nonnegative")


@dataclass(frozen=True)
class Binary(Classification):
    """Cross-entropy of two classes: ``-ln softmax(f)_y``.

    Measures are those of classification, F1 weighted by the classes' numbers of samples and, where
    samples have a score, accuracy and weighted F1 of its sign by both conventions: ``nonzero``
    without samples of score 0, ``nonnegative`` with them. Of regression data the class is 1 where
    the score is at least 0.

    Args:
        outputs: Number of classes, 2.
    """

    name: ClassVar[str] = "binary"
    measured: ClassVar[tuple[str, ...]] = (
        *("accuracy", "f1", "map", "macro_f1"),
        *("acc2_nonzero", "f1_nonzero", "acc2_nonnegative", "f1_nonnegative"),
    )
    outputs: int = 2

    @classmethod
    def of(cls, data: Annotations) -> Self:
        if len(data.classes) != 2 and data.scores is None:
            raise ConfigError(
                f"{data.place}: the task binary takes two classes, or a score a sample; the data "
                f"have {len(data.classes)} classes and no score"
            )
        return cls(2)

    def labels(self, data: Annotations) -> NDArray[np.int64]:
        if len(data.classes) == 2 or data.scores is None:
            return super().labels(data)
        return (data.scores >= 0).astype(np.int64)

    def classes(self, data: Annotations) -> tuple[str, ...]:
        return data.classes if len(data.classes) == 2 else _SIGNS

    def measures(
        self, fused: Tensor, by_modality: Mapping[str, Tensor], data: Annotations
    ) -> dict[str, Any]:
        """Measures of the fused logits, and under ``modalities`` of each modality's own logits."""
        target = self.targets(data)

        def of_head(logits: Tensor) -> dict[str, Any]:
            # The largest probability decides, as in the accuracy: close logits may tie there.
            guess = logits.double().softmax(-1).cpu().numpy().argmax(-1)
            signs = {}
            if data.scores is not None:
                signs = sign_measures(data.scores, guess == 1, guess == 1)
            common = measures(logits, torch.from_numpy(target))
            return {**common, "f1": weighted_f1(target, guess), **signs}

        own = {m: of_head(logits) for m, logits in by_modality.items()}
        return {**of_head(fused), "modalities": own}
