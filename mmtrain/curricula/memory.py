"""Memory of a curriculum: scores of samples, the facts behind them, and how old these are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from mmtrain.errors import ConfigError, DataError, UnknownName

# Name of a fact to its value (n,) or (k,) for each sample.
SampleFacts: TypeAlias = Mapping[str, NDArray[np.float32]]

SCORINGS: Final = ("pass", "online")
_NEVER: Final = -1
# Columns of a row, and of scores.h5, that are no facts.
_OTHERS: Final = ("key", "visits", "score", "measured")


@dataclass(eq=False)
class Memory:
    """Scores of n samples; 8 bytes a sample, and 4 for each fact.

    Args:
        score_of: Function of the facts of n samples to their raw scores (n,).
        columns: Names of the facts. May be empty where a pass decides them, by modality say.
        scoring: ``pass`` takes the facts of all samples in one evaluation pass when an epoch
            begins; ``online`` takes those that training itself shows, at no further pass: they are
            then as old as the last visit, and the first epoch has no scores.
        every: Number of epochs between scorings; 0 scores once.
        beta: Weight of a new score against those before.
        start: First epoch that has scores, from 0.

    Attributes:
        score: Scores (n,) in force; None before the first.
        facts: Name to values (n,) behind the scores; NaN where a sample was never looked at.
        measured: Epoch (n,) in which a sample was last looked at; -1 for never.
    """

    score_of: Callable[[SampleFacts], NDArray[np.float32]]
    columns: tuple[str, ...] = ()
    scoring: str = "pass"
    every: int = 1
    beta: float = 1.0
    start: int = 0

    def __post_init__(self) -> None:
        if self.scoring not in SCORINGS:
            raise UnknownName("scoring", self.scoring, SCORINGS)
        if self.every < 0:
            raise ConfigError(f"every is a number of epochs, 0 for once; got {self.every}")
        if not 0 <= self.beta <= 1:
            raise ConfigError(f"beta is in [0, 1]; got {self.beta}")
        if self.start < 0:
            raise ConfigError(f"start is an epoch, from 0; got {self.start}")
        if self.scoring == "online" and not self.columns:
            raise ValueError("online scoring needs the names of its facts")
        if taken := {*self.columns} & {*_OTHERS}:
            raise ValueError(f"facts cannot be named {', '.join(sorted(taken))}")
        self.score: NDArray[np.float32] | None = None
        self.facts: dict[str, NDArray[np.float32]] = self._none(0)
        self.measured = np.empty(0, np.int32)

    def refresh(self, epoch: int, samples: int, measure: Callable[[], SampleFacts]) -> None:
        """Brings the scores up to date for the epoch that begins, if that is due.

        ``s <- (1 - beta) s + beta s_new``; the first time, ``s_new`` (BSS, slides).

        Args:
            epoch: Epoch, from 0.
            samples: Number of samples.
            measure: Looks at all samples; called only where the scoring is ``pass`` and due.
        """
        if not len(self.measured):
            self.facts = self._none(samples)
            self.measured = np.full(samples, _NEVER, np.int32)
        first = self.score is None
        if epoch < self.start or not (first or (self.every and epoch % self.every == 0)):
            return
        if self.scoring == "pass":
            facts = measure()
            self.facts = {name: facts[name] for name in self.columns or facts}
            self.measured[:] = epoch
        elif epoch == 0 or not (self.measured != _NEVER).any():
            return
        new = self.score_of(self.facts)
        old = new if self.score is None else self.score
        self.score = ((1 - self.beta) * old + self.beta * new).astype(np.float32)

    @property
    def observes(self) -> bool:
        """Whether it takes the facts that training shows."""
        return self.scoring == "online"

    def observe(self, places: NDArray[np.int64], facts: SampleFacts, epoch: int) -> None:
        """Takes the facts that training has shown in ``epoch`` of some samples.

        Args:
            places: Places (k,) among the n samples; where one comes several times, the mean counts.
            facts: Name to values (k,).
            epoch: Epoch, from 0.
        """
        times = np.bincount(places, minlength=len(self.measured))
        seen = times > 0
        for name, kept in self.facts.items():
            total = np.bincount(places, weights=facts[name], minlength=len(times))
            kept[seen] = (total[seen] / times[seen]).astype(np.float32)
        self.measured[seen] = epoch

    def row(self) -> dict[str, NDArray[Any]]:
        """Name to column (n,) of all that an order depends on; NaN for no score yet."""
        none = np.full(len(self.measured), np.nan, np.float32)
        score = none if self.score is None else self.score
        return {"score": score, **self.facts, "measured": self.measured}

    def recall(self, row: Mapping[str, NDArray[Any]]) -> None:
        """Sets scores and facts to those of a `row`.

        Raises:
            DataError: Facts are missing: the row is of another curriculum.
        """
        names = self.columns or tuple(name for name in row if name not in _OTHERS)
        if missing := [name for name in ("score", "measured", *names) if name not in row]:
            raise DataError(
                f"the scores have no {', '.join(missing)}, only {', '.join(row)}; they are of "
                "another curriculum"
            )
        score = np.array(row["score"])
        self.score = None if np.isnan(score).all() else score
        self.facts = {name: np.array(row[name]) for name in names}
        self.measured = np.array(row["measured"])

    def state_dict(self) -> dict[str, Any]:
        """The `row`, as tensors."""
        return {name: torch.from_numpy(column.copy()) for name, column in self.row().items()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Sets scores and facts to those of a `state_dict`."""
        self.recall({name: column.numpy() for name, column in saved.items()})

    def _none(self, samples: int) -> dict[str, NDArray[np.float32]]:
        return {name: np.full(samples, np.nan, np.float32) for name in self.columns}
