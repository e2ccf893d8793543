"""What a curriculum remembers of samples: scores, what they were made of, and how old that is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mmtrain.errors import ConfigError, UnknownName

SCORINGS: Final = ("pass", "online")
_NEVER: Final = -1
_COLUMNS: Final = ("score", "similarity", "loss", "measured")


class Judged(NamedTuple):
    """What a model says of samples.

    Attributes:
        similarity: (n,) how alike the modalities' probabilities are, in [-1, 1], see
            `mmtrain.functional.agreement`.
        loss: (n,) the method's loss.
    """

    similarity: NDArray[np.float32]
    loss: NDArray[np.float32]


@dataclass(eq=False)
class Memory:
    """Scores of n samples. 16 bytes a sample.

    Args:
        scored: Judged samples (n,) to their raw scores (n,).
        scoring: ``pass`` judges all in one evaluation pass when an epoch begins; ``online`` takes
            what training itself said where it showed a sample, at no further pass: values are then
            as old as the last visit, and the first epoch has no scores.
        every: Epochs between scorings; 0 scores once.
        beta: Weight of a new score against those before.

    Attributes:
        score: (n,) the scores in force; None before the first.
        judged: (n,) what they were made of; NaN where a sample was never judged.
        measured: (n,) epoch in which a sample was last judged; -1 for never.
    """

    scored: Callable[[Judged], NDArray[np.float32]]
    scoring: str = "pass"
    every: int = 1
    beta: float = 1.0

    def __post_init__(self) -> None:
        if self.scoring not in SCORINGS:
            raise UnknownName("scoring", self.scoring, SCORINGS)
        if self.every < 0:
            raise ConfigError(f"every is a number of epochs, 0 for once; got {self.every}")
        if not 0 <= self.beta <= 1:
            raise ConfigError(f"beta is in [0, 1]; got {self.beta}")
        self.score: NDArray[np.float32] | None = None
        self.judged = Judged(*np.empty((2, 0), np.float32))
        self.measured = np.empty(0, np.int32)

    def refresh(self, epoch: int, samples: int, judge: Callable[[], Judged]) -> None:
        """Brings the scores up to date for the epoch that begins, if that is due.

        ``s <- (1 - beta) s + beta s_new``; the first time, ``s_new`` (BSS, slides).
        """
        if not len(self.measured):
            self.judged = Judged(*np.full((2, samples), np.nan, np.float32))
            self.measured = np.full(samples, _NEVER, np.int32)
        first = self.score is None
        if not (first or (self.every and epoch % self.every == 0)):
            return
        if self.scoring == "pass":
            self.judged = judge()
            self.measured[:] = epoch
        elif epoch == 0 or not (self.measured != _NEVER).any():
            return
        new = self.scored(self.judged)
        old = new if self.score is None else self.score
        self.score = ((1 - self.beta) * old + self.beta * new).astype(np.float32)

    @property
    def observes(self) -> bool:
        """Whether it is to be shown what training says."""
        return self.scoring == "online"

    def observe(self, places: NDArray[np.int64], judged: Judged, epoch: int) -> None:
        """Takes what training has said in ``epoch`` of some samples.

        Args:
            places: (k,) which of the n; where one comes several times, the mean is taken.
            judged: (k,) of them.
            epoch: From 0.
        """
        times = np.bincount(places, minlength=len(self.measured))
        seen = times > 0
        for mine, new in zip(self.judged, judged, strict=True):
            total = np.bincount(places, weights=new, minlength=len(times))
            mine[seen] = (total[seen] / times[seen]).astype(np.float32)
        self.measured[seen] = epoch

    def row(self) -> dict[str, NDArray[Any]]:
        """What the order of an epoch went by: a (n,) column each; NaN for no score yet."""
        none = np.full(len(self.measured), np.nan, np.float32)
        score = none if self.score is None else self.score
        return dict(zip(_COLUMNS, (score, *self.judged, self.measured), strict=True))

    def recall(self, row: Mapping[str, NDArray[Any]]) -> None:
        """Takes up what `row` gave."""
        score, similarity, loss, measured = (np.array(row[name]) for name in _COLUMNS)
        self.score = None if np.isnan(score).all() else score
        self.judged, self.measured = Judged(similarity, loss), measured

    def state_dict(self) -> dict[str, Any]:
        """As tensors."""
        return {name: torch.from_numpy(column.copy()) for name, column in self.row().items()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave."""
        self.recall({name: column.numpy() for name, column in saved.items()})
