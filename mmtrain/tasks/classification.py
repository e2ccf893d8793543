"""Classification: one of C classes for each sample, learnt by cross-entropy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from mmtrain.functional.scores import confidence
from mmtrain.metrics import of_outputs


@dataclass(frozen=True)
class Classification:
    """Cross-entropy of the softmax over classes.

    Attributes:
        outputs: Number of classes.
    """

    name: ClassVar[str] = "classification"
    outputs: int

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
        self, fused: Tensor, by_modality: Mapping[str, Tensor], target: Tensor
    ) -> dict[str, Any]:
        """`mmtrain.metrics.of_outputs`: accuracy, mAP, macro-F1 and loss."""
        return of_outputs(fused, by_modality, target)
