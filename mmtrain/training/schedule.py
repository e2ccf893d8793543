"""The schedule of the learning rate."""

import math
from typing import TypedDict

from mmtrain.config.run import ScheduleConfig


class ScheduleState(TypedDict):
    """What `Schedule` remembers: only ``plateau`` needs it."""

    factor: float
    best: float
    waited: int


class Schedule:
    """The factor on the learning rate, epoch by epoch.

    Args:
        config: Kind and parameters.
        epochs: Of the whole run.
    """

    def __init__(self, config: ScheduleConfig, epochs: int) -> None:
        self._config, self._epochs = config, epochs
        self._state: ScheduleState = {"factor": 1.0, "best": math.inf, "waited": 0}

    def factor(self, epoch: int) -> float:
        """``(epoch + 1) / (warmup + 1)`` while it warms up, and then what the kind says."""
        config = self._config
        if epoch < config.warmup:
            return (epoch + 1) / (config.warmup + 1)
        if config.name == "step":
            return float(config.gamma ** (epoch // config.every))
        if config.name == "cosine":
            share = (epoch - config.warmup) / max(1, self._epochs - config.warmup)
            return (1 + math.cos(math.pi * share)) / 2
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

    def state_dict(self) -> ScheduleState:
        """What is remembered."""
        return self._state.copy()

    def load_state_dict(self, saved: ScheduleState) -> None:
        """Takes up what `state_dict` gave."""
        self._state = saved.copy()
