"""torch's DataLoader over a data set that gives the sample of any number."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from rivals.base import Batch, Setting, to_batch


class SampledLoader:
    """A DataLoader whose order is set anew each epoch, and whose processes stay.

    Args:
        dataset: Data set with samples by number.
        setting: Conditions of the measurement.
        options: Further arguments of the DataLoader.
    """

    def __init__(self, dataset: Dataset[Any], setting: Setting, **options: Any) -> None:
        self._order: list[int] = []
        self._loader = DataLoader(
            dataset,
            setting.batch_size,
            sampler=self._order,
            num_workers=setting.workers,
            persistent_workers=setting.workers > 0,
            **options,
        )

    def batches(self, order: Sequence[int]) -> Iterator[Batch]:
        """Yields the batches of an epoch."""
        self._order[:] = order
        for collated in self._loader:
            yield to_batch(collated)
