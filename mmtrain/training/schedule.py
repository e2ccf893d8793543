"""The schedule of the learning rate."""

import math
from typing import TypedDict

from mmtrain.config.run import ScheduleConfig


class ScheduleState(TypedDict):
    """State of a `Schedule`: that of ``plateau``, and where the stage began that it is for."""

    factor: float
    best: float
    waited: int
    start: int
    epochs: int


class Schedule:
    """Factor on the learning rate, epoch by epoch.

    Args:
        config: Kind and parameters.
        epochs: Number of epochs of the whole run.
    """

    def __init__(self, config: ScheduleConfig, epochs: int) -> None:
        self._config, self._planned = config, epochs
        self._state = _fresh(0, epochs)

    def factor(self, epoch: int) -> float:
        """``(epoch + 1) / (warmup + 1)`` during warm-up, and then the factor of its kind."""
        config, epoch = self._config, epoch - self._state["start"]
        if epoch < config.warmup:
            return (epoch + 1) / (config.warmup + 1)
        if config.name == "step":
            return float(config.gamma ** (epoch // config.every))
        if config.name == "cosine":
            share = (epoch - config.warmup) / max(1, self._state["epochs"] - config.warmup)
            # A stage, or a trial, may go on behind its planned end, where the cosine would rise.
            return (1 + math.cos(math.pi * min(1.0, share))) / 2
        return self._state["factor"]

    def observe(self, loss: float) -> None:
        """Takes the loss of a finished epoch, for ``plateau``."""
        if self._config.name != "plateau":
            return
        state = self._state
        if loss < state["best"]:
            state["best"], state["waited"] = loss, 0
            return
        state["waited"] += 1
        if state["waited"] > self._config.patience:
            state["factor"] *= self._config.gamma
            state["waited"] = 0

    def restart(self, epoch: int, epochs: int | None = None) -> None:
        """Starts anew with ``epoch``, for a stage of ``epochs``; by default all that are left."""
        self._state = _fresh(epoch, self._planned - epoch if epochs is None else epochs)

    def state_dict(self) -> ScheduleState:
        """Copy of the state."""
        return self._state.copy()

    def load_state_dict(self, saved: ScheduleState) -> None:
        """Sets the state; one of before stages could be started anew is of the whole run."""
        self._state = {**_fresh(0, self._planned), **saved}
        if not self._state["start"]:  # Of the whole run, which may be longer now.
            self._state["epochs"] = self._planned


def _fresh(start: int, epochs: int) -> ScheduleState:
    return {"factor": 1.0, "best": math.inf, "waited": 0, "start": start, "epochs": epochs}
