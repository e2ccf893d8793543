"""Values that pass between stream, model, method and engine; mappings are keyed by modality."""

from collections.abc import Callable, Mapping
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
        inputs: Modality to its tensor, first dimension the batch, as the stream delivers it:
            ``audio`` (B, 1, frequencies, columns) float16; ``visual`` (B, T, 3, H, W) uint8;
            ``flow`` (B, T, 2 L, H, W) uint8.
        filler: True where a sample only fills up the last batch: it weighs nothing.
        shown: Modality to which samples show it; absent means all.
    """

    ids: Int[Tensor, " batch"]
    target: Int[Tensor, " batch"]
    inputs: dict[str, Tensor]
    filler: Bool[Tensor, " batch"]
    shown: dict[str, Bool[Tensor, " batch"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> "Batch":
        """Returns the batch on ``device``; copies do not wait where the memory is pinned."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Returns the batch in page-locked memory, which torch's DataLoader asks for by this name.

        A stream with ``StreamOptions(pin=True)`` decodes into such memory, without this copy.
        """
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return Batch(
            ids=change(self.ids),
            target=change(self.target),
            inputs={m: change(x) for m, x in self.inputs.items()},
            filler=change(self.filler),
            shown={m: change(x) for m, x in self.shown.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a multimodal model says of a batch.

    Attributes:
        fused: Logits of all modalities together.
        logits: Modality to its own logits: its share of ``fused``, or those of its own head.
        features: Modality to what its encoder gave, pooled.
    """

    fused: Float[Tensor, "batch classes"]
    logits: dict[str, Float[Tensor, "batch classes"]]
    features: dict[str, Float[Tensor, "batch width"]]
