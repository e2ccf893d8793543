"""Answers: one of C answers to a question about a clip, measured by type of question too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.metrics import measures
from mmtrain.tasks.annotations import Annotations
from mmtrain.tasks.classification import Classification


@dataclass(frozen=True)
class Answers(Classification):
    """Cross-entropy of the softmax over answers: ``-ln softmax(f)_y``.

    Measures are those of classification, over all questions; under ``groups``, the accuracy and
    the number of questions of each type, which is the sample's group.

    Args:
        outputs: Number of answers.
    """

    name: ClassVar[str] = "answers"

    @classmethod
    def of(cls, data: Annotations) -> Self:
        if data.group is None:
            raise ConfigError(
                f"{data.place}: the task answers measures by type of question, and the samples "
                "have no group; choose --set task=classification"
            )
        return cls(len(data.classes))

    def measures(
        self, fused: Tensor, by_modality: Mapping[str, Tensor], data: Annotations
    ) -> dict[str, Any]:
        """Measures of the fused logits, and under ``modalities`` of each modality's own logits."""
        target = torch.from_numpy(self.targets(data))

        def of_head(logits: Tensor) -> dict[str, Any]:
            return {**measures(logits, target), "groups": by_group(logits, target, data)}

        own = {m: of_head(logits) for m, logits in by_modality.items()}
        return {**of_head(fused), "modalities": own}


def by_group(
    logits: Tensor, target: Tensor, data: Annotations
) -> dict[str, dict[str, float | int]]:
    """Group to ``count`` and ``accuracy`` of its samples, of the groups that have any."""
    guess = logits.double().softmax(-1).cpu().numpy().argmax(-1)
    hits, group = guess == target.cpu().numpy(), data.group
    if group is None:
        return {}
    counts = np.bincount(group, minlength=len(data.groups))
    right = np.bincount(group, weights=hits, minlength=len(data.groups))
    return {
        name: {"count": int(count), "accuracy": float(number / count)}
        for name, count, number in zip(data.groups, counts, right, strict=True)
        if count
    }
