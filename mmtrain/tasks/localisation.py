"""Localisation: one of C classes for each of S segments of a sample, background among them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mmtrain.errors import ConfigError
from mmtrain.functional.scores import confidence
from mmtrain.metrics import by_class, confusion
from mmtrain.tasks.annotations import Annotations
from mmtrain.tasks.needs import OF_DECISIONS
from mmtrain.tasks.task import Task

BACKGROUND: Final = "background"


@dataclass(frozen=True)
class Localisation(Task):
    """Cross-entropy of each segment's softmax, averaged: ``-1/S sum_s ln softmax(f_s)_y_s``.

    Logits of a sample are those of its segments one after the other, S x C numbers. Measures are
    the share of segments that are right, background counting as a class, and beside it
    ``background``, that share for whoever predicts background alone. The probability of the truth
    is the mean over segments.

    Args:
        segments: Number of segments of a sample, ``S``.
        choices: Number of classes, ``C``.
    """

    name: ClassVar[str] = "localisation"
    gives: ClassVar[frozenset[str]] = OF_DECISIONS
    measured: ClassVar[tuple[str, ...]] = ("accuracy",)
    segments: int
    choices: int

    @property
    def outputs(self) -> int:  # type: ignore[override]  # Computed, where others have a field.
        """Entries of a sample's logits, ``S C``."""
        return self.segments * self.choices

    @classmethod
    def of(cls, data: Annotations) -> Self:
        values, choices = data.values, len(data.classes)
        if values is None or values.shape[1] < 2:
            raise ConfigError(
                f"{data.place}: the task localisation learns a class for each segment; the data "
                "have none"
            )
        whole = values.astype(np.int64)
        if (whole != values).any() or whole.min() < 0 or whole.max() >= choices:
            raise ConfigError(
                f"{data.place}: the task localisation takes whole numbers below {choices}, the "
                "classes of segments; the data have others"
            )
        return cls(values.shape[1], choices)

    def targets(self, data: Annotations) -> NDArray[np.int64]:
        return np.asarray(data.values).astype(np.int64)

    def losses(
        self, logits: Float[Tensor, "batch outputs"], target: Int[Tensor, "batch segments"]
    ) -> Float[Tensor, " batch"]:
        """Mean cross-entropy of each sample's segments, in nats."""
        rows = self.decisions(logits)
        each = F.cross_entropy(rows, self.decided(target), reduction="none")
        return each.view(-1, self.segments).mean(1)

    def confidence(
        self, logits: Float[Tensor, "batch outputs"], target: Int[Tensor, "batch segments"]
    ) -> Float[Tensor, " batch"]:
        """Mean probability of each sample's true classes."""
        rows = self.decisions(logits)
        return confidence(rows, self.decided(target)).view(-1, self.segments).mean(1)

    def decisions(self, logits: Tensor) -> Tensor:
        return logits.reshape(-1, self.choices)

    def decided(self, target: Tensor) -> Tensor:
        return target.reshape(-1)

    def measures(
        self, fused: Tensor, by_modality: Mapping[str, Tensor], data: Annotations
    ) -> dict[str, Any]:
        """Measures of the fused logits, and under ``modalities`` of each modality's own logits."""
        target = torch.from_numpy(self.targets(data))
        alone = _share_of_background(target, data.classes)

        def of_head(logits: Tensor) -> dict[str, float]:
            rows = self.decisions(logits.double().cpu())
            hits = rows.softmax(-1).argmax(-1) == self.decided(target)
            loss = F.cross_entropy(rows, self.decided(target))
            return {"accuracy": float(hits.double().mean()), **alone, "loss": float(loss)}

        own = {m: of_head(logits) for m, logits in by_modality.items()}
        return {**of_head(fused), "modalities": own}

    def details(self, fused: Tensor, data: Annotations) -> dict[str, Any]:
        """``by_class`` and ``confusion`` of all segments, and ``segments``, accuracy by place."""
        target = torch.from_numpy(self.targets(data))
        rows, truth = self.decisions(fused.cpu()), self.decided(target)
        hits = rows.double().softmax(-1).argmax(-1) == truth
        return {
            "by_class": by_class(rows, truth, data.classes),
            "confusion": confusion(rows, truth).tolist(),
            "segments": hits.view(-1, self.segments).double().mean(0).tolist(),
        }


def _share_of_background(target: Tensor, classes: tuple[str, ...]) -> dict[str, float]:
    """``background``, the share of segments without an event; nothing without such a class."""
    if BACKGROUND not in classes:
        return {}
    share = (target == classes.index(BACKGROUND)).double().mean()
    return {"background": float(share)}
