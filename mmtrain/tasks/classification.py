"""Classification: one of C classes for each sample, learnt by cross-entropy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mmtrain.functional.scores import confidence
from mmtrain.metrics import by_class, confusion, of_outputs
from mmtrain.tasks.annotations import Annotations
from mmtrain.tasks.needs import OF_CLASSES
from mmtrain.tasks.task import Task


@dataclass(frozen=True)
class Classification(Task):
    """Cross-entropy of the softmax over classes: ``-ln softmax(f)_y``.

    Measures are accuracy, mAP and macro-F1. Learns from the label of each sample, whatever else
    the data set has: regression data have the rounded score as label, localisation data the
    event.

    Args:
        outputs: Number of classes.
    """

    name: ClassVar[str] = "classification"
    gives: ClassVar[frozenset[str]] = OF_CLASSES
    measured: ClassVar[tuple[str, ...]] = ("accuracy", "map", "macro_f1")
    outputs: int

    @classmethod
    def of(cls, data: Annotations) -> Self:
        return cls(len(data.classes))

    def targets(self, data: Annotations) -> NDArray[np.int64]:
        return self.labels(data)

    def losses(
        self, logits: Float[Tensor, "batch classes"], target: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Cross-entropy of each sample, ``-ln softmax(logits)[target]``, in nats."""
        return F.cross_entropy(logits, target, reduction="none")

    def confidence(
        self, logits: Float[Tensor, "batch classes"], target: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Probability of each sample's class, see `mmtrain.functional.confidence`."""
        return confidence(logits, target)

    def measures(
        self, fused: Tensor, by_modality: Mapping[str, Tensor], data: Annotations
    ) -> dict[str, Any]:
        """`mmtrain.metrics.of_outputs`: accuracy, mAP, macro-F1 and loss."""
        return of_outputs(fused, by_modality, torch.from_numpy(self.targets(data)))

    def details(self, fused: Tensor, data: Annotations) -> dict[str, Any]:
        """``by_class`` and ``confusion``, whose rows are true classes and columns predicted."""
        target = torch.from_numpy(self.targets(data))
        return {
            "by_class": by_class(fused, target, self.classes(data)),
            "confusion": confusion(fused, target).tolist(),
        }
