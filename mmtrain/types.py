"""Values that pass between stream, model, method and run; mappings are keyed by modality."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

Inputs: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch of samples.

    Attributes:
        ids: Row of each sample in the index of its data set.
        target: Truth of each sample, as its task has it: the class (B,), int64; a score (B,),
            float32; the class of each segment (B, S), int64.
        inputs: Modality to its tensor, whose first dimension is the batch:
            ``audio`` (B, 1, frequencies, columns) float16; ``visual`` (B, T, 3, H, W) uint8;
            ``flow`` (B, T, 2 L, H, W) uint8; ``text``, ``target``, ``question`` (B, L) int64, token
            t as t + 1 and 0 behind the end; ``speech``, ``face``, ``words`` (B, T, D + 1) float32,
            the last channel 1 at real steps and 0 behind them.
        filler: True for rows without a sample, which fill up the last batch and weigh nothing.
        shown: Modality to True for each sample that shows it; all samples show a modality that is
            not a key. False where the order hides it, and where a sample lacks it.
    """

    ids: Int[Tensor, " batch"]
    target: Shaped[Tensor, " batch *segments"]
    inputs: dict[str, Tensor]
    filler: Bool[Tensor, " batch"]
    shown: dict[str, Bool[Tensor, " batch"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def unlabelled(
        cls, inputs: Inputs, shown: Mapping[str, Bool[Tensor, " batch"]] | None = None
    ) -> "Batch":
        """A batch of inputs alone, to predict on; its ids and targets are 0.

        Args:
            inputs: Modality to its tensor.
            shown: Modality to which samples show it; all by default.
        """
        like = next(iter(inputs.values()))
        # By the shape, not by len(): torch.export keeps a size that it does not have to read.
        zeros = torch.zeros(like.shape[0], dtype=torch.int64, device=like.device)
        return cls(
            ids=zeros,
            target=zeros,
            inputs=dict(inputs),
            filler=zeros.bool(),
            shown=dict(shown or {}),
        )

    def rows(self, begin: int, end: int) -> "Batch":
        """The samples from ``begin`` up to ``end``, exclusive, as a view."""
        return self._map(lambda tensor: tensor[begin:end])

    def hiding(self, **hidden: Bool[Tensor, " batch"]) -> "Batch":
        """The batch with modalities hidden where their mask is True, besides those already hidden.

        Example:
            >>> batch.hiding(audio=torch.rand(len(batch)) < 0.3)  # doctest: +SKIP
        """
        shown = dict(self.shown)
        for modality, mask in hidden.items():
            shown[modality] = shown[modality] & ~mask if modality in shown else ~mask
        return replace(self, shown=shown)

    def only(self, *modalities: str) -> "Batch":
        """The batch with every other modality hidden, for logits of a subset of the modalities.

        Example:
            >>> logits = model(batch.only("audio")).fused  # doctest: +SKIP
        """
        everywhere = torch.ones_like(self.filler)
        return self.hiding(**{m: everywhere for m in self.inputs if m not in modalities})

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
    """Outputs of a multimodal model for a batch.

    Attributes:
        fused: Logits of all modalities together.
        logits: Modality to its own logits: its share of ``fused``, or those of its own head.
        features: Modality to the pooled features of its encoder.
    """

    fused: Float[Tensor, "batch classes"]
    logits: dict[str, Float[Tensor, "batch classes"]]
    features: dict[str, Float[Tensor, "batch width"]]
