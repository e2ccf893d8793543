"""The interface of a task: how logits and targets become losses, confidence and measures.

Methods never name a loss themselves, so that each of them works with every task for which its
equations are defined. What a task gives beyond losses is a trait, see `mmtrain.tasks.needs`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.tasks.annotations import Annotations
from mmtrain.tasks.needs import PROBABILITY


def mean_by_sample(values: Tensor, samples: int) -> Tensor:
    """Mean (samples,) of values (decisions,), of which each sample has equally many in a row."""
    return values if len(values) == samples else values.view(samples, -1).mean(1)


class Task(ABC):
    """One kind of target.

    Attributes:
        name: Name in configs and messages.
        gives: Traits that methods and curricula may need.
        measured: Names of the measures; the first chooses the epoch unless another is asked for.
        outputs: Entries of a sample's logits.
    """

    name: ClassVar[str]
    gives: ClassVar[frozenset[str]] = frozenset()
    measured: ClassVar[tuple[str, ...]]
    outputs: int

    @classmethod
    @abstractmethod
    def of(cls, data: Annotations) -> Self:
        """The task on a data set.

        Raises:
            ConfigError: The data set lacks what the task learns from.
        """

    @abstractmethod
    def targets(self, data: Annotations) -> NDArray[Any]:
        """(n, ...) target of each sample, as batches have it."""

    def labels(self, data: Annotations) -> NDArray[np.int64]:
        """(n,) class id of each sample, by which samples are spread evenly over parts."""
        return data.label.astype(np.int64)

    def classes(self, data: Annotations) -> tuple[str, ...]:
        """Class names in the order of their ids."""
        return data.classes

    @abstractmethod
    def losses(
        self, logits: Float[Tensor, "batch outputs"], target: Tensor
    ) -> Float[Tensor, " batch"]:
        """Loss of each sample; gradients flow to ``logits``."""

    def confidence(
        self, logits: Float[Tensor, "batch outputs"], target: Tensor
    ) -> Float[Tensor, " batch"]:
        """Probability of each sample's target, in [0, 1], float32.

        Raises:
            ConfigError: The task has no such probability.
        """
        raise ConfigError(f"the task {self.name} has no {PROBABILITY}, and so none of the truth")

    def decisions(self, logits: Tensor) -> Tensor:
        """Logits (decisions, classes): a row for each class that is to be chosen.

        A sample has one row, or several that follow each other. Softmax, entropy and the largest
        entry of a row are those of a distribution; no such rows where ``gives`` has no
        `PROBABILITY`.
        """
        return logits

    def decided(self, target: Tensor) -> Tensor:
        """Class (decisions,) of each row of `decisions`."""
        return target

    def sample_scores(self, logits: Tensor, data: Annotations) -> NDArray[np.float64]:
        """(n,) score of each sample, more being better: its share of right `decisions`.

        The mean over samples is the accuracy.

        Args:
            logits: Logits (n, outputs).
            data: Annotations of the n samples.
        """
        rows = self.decisions(logits.double().cpu()).softmax(-1)
        right = rows.argmax(-1) == self.decided(torch.from_numpy(self.targets(data)))
        return mean_by_sample(right.double(), len(logits)).numpy()

    @abstractmethod
    def measures(
        self, fused: Tensor, by_modality: Mapping[str, Tensor], data: Annotations
    ) -> dict[str, Any]:
        """Measures of all predictions of a split: of the fused logits, and by modality.

        Args:
            fused: Logits (n, outputs).
            by_modality: Modality to its own logits (n, outputs).
            data: Annotations of the n samples.
        """

    @abstractmethod
    def details(self, fused: Tensor, data: Annotations) -> dict[str, Any]:
        """What an evaluation shows besides the measures.

        Args:
            fused: Logits (n, outputs).
            data: Annotations of the n samples.
        """
