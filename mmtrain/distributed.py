"""The processes that train together. For now a run is one process: the only one of its kind."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those that train together; alone by default.

    The one seam where several processes will differ from one.

    Attributes:
        rank: Of this process.
        world: Number of processes.
    """

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.world != 1 or self.rank != 0:
            raise NotImplementedError("one process only")

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.world == 1

    def average(self, gradients: Sequence[Tensor], samples: int) -> None:
        """Replaces each gradient by the mean over ranks, each weighted by its real samples."""

    def sum(self, value: Tensor) -> Tensor:
        """The sum of every rank's value, on all of them."""
        return value

    def mean(self, value: Tensor) -> Tensor:
        """The mean of every rank's value, on all of them."""
        return self.sum(value) / self.world
