"""What a data set knows about the truth of its samples, from which a task makes its targets."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotations:
    """Labels, values and groups of n samples.

    Attributes:
        place: Address of the data set, for messages.
        classes: Class names in the order of their ids.
        label: (n,) class id of each sample.
        values: (n, k) numbers of each sample: a score, or the class of each segment; None where
            the data set has none.
        groups: Names of the groups; empty where the samples have none.
        group: (n,) place of each sample's group among ``groups``; None where they have none.
    """

    place: str
    classes: tuple[str, ...]
    label: NDArray[np.integer]
    values: NDArray[np.float32] | None = None
    groups: tuple[str, ...] = ()
    group: NDArray[np.integer] | None = None

    @property
    def scores(self) -> NDArray[np.float32] | None:
        """(n,) score of each sample, where it has a single number."""
        if self.values is None or self.values.shape[1] != 1:
            return None
        scores: NDArray[np.float32] = self.values[:, 0]
        return scores

    def of(self, ids: NDArray[np.int64]) -> "Annotations":
        """Annotations of the samples ``ids``, in their order."""
        return replace(
            self,
            label=self.label[ids],
            values=None if self.values is None else self.values[ids],
            group=None if self.group is None else self.group[ids],
        )
