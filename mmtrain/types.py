"""Values that pass between stream, model, method and run; mappings are keyed by modality."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Inputs: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch of samples.

    Attributes:
        ids: Row of each sample in the index of its data set.
        target: Class of each sample.
        inputs: Modality to its tensor, whose first dimension is the batch:
            ``audio`` (B, 1, frequencies, columns) float16; ``visual`` (B, T, 3, H, W) uint8;
            ``flow`` (B, T, 2 L, H, W) uint8.
        filler: True for rows without a sample, which fill up the last batch and weigh nothing.
        shown: Modality to True for each sample that shows it; all samples show a modality that is
            not a key.
    """

    ids: Int[Tensor, " batch"]
    target: Int[Tensor, " batch"]
    inputs: dict[str, Tensor]
    filler: Bool[Tensor, " batch"]
    shown: dict[str, Bool[Tensor, " batch"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> "Batch":
        """The batch on ``device``; copies from pinned memory do not block."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return Batch(
            ids=move(self.ids),
            target=move(self.target),
            inputs={m: move(x) for m, x in self.inputs.items()},
            filler=move(self.filler),
            shown={m: move(x) for m, x in self.shown.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Outputs of a multimodal model for a batch.

    Attributes:
        fused: Logits of all modalities together.
        logits: Modality to its own logits: its share of ``fused``, or those of its own head.
        features: Modality to the pooled features of its encoder.
    """

    fused: Float[Tensor, "batch classes"]
    logits: dict[str, Float[Tensor, "batch classes"]]
    features: dict[str, Float[Tensor, "batch width"]]
