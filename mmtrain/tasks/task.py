"""The interface of a task: how logits and targets become losses, confidence and measures.

Methods never name a loss themselves, so that each of them works with every task for which its
equations are defined.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Task(Protocol):
    """One kind of target."""

    @property
    def name(self) -> str:
        """Name in configs and messages."""

    @property
    def outputs(self) -> int:
        """Entries of a sample's logits."""

    def losses(
        self, logits: Float[Tensor, "batch outputs"], target: Tensor
    ) -> Float[Tensor, " batch"]:
        """Loss of each sample; gradients flow to ``logits``."""

    def confidence(
        self, logits: Float[Tensor, "batch outputs"], target: Tensor
    ) -> Float[Tensor, " batch"]:
        """Probability of each sample's target, in [0, 1], float32."""

    def measures(
        self, fused: Tensor, by_modality: Mapping[str, Tensor], target: Tensor
    ) -> dict[str, Any]:
        """Measures of all predictions of a split: of the fused logits, and by modality.

        Args:
            fused: Logits (n, outputs).
            by_modality: Modality to its own logits (n, outputs).
            target: Targets of the n samples.
        """
