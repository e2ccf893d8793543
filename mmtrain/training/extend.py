"""More epochs for a run: allowed where it would have trained the same had it planned them."""

import inspect
import logging
from dataclasses import replace
from pathlib import Path
from types import CodeType
from typing import Final

from mmtrain.config.run import TrainConfig
from mmtrain.errors import ConfigError
from mmtrain.methods.base import Method
from mmtrain.methods.catalog import METHODS

log = logging.getLogger(__name__)

RESULT: Final = "result.json"
# Files of `mmtrain eval` and `mmtrain probe`, which are of the best weights so far.
_MEASURED: Final = ("eval-*.json", "probe-*.json")


def is_longer(before: TrainConfig, config: TrainConfig) -> bool:
    """Whether ``config`` is that of the same run with more epochs."""
    if config.epochs <= before.epochs:
        return False
    return not replace(before, epochs=config.epochs).differences(config)


def reopen(folder: Path, before: TrainConfig, config: TrainConfig) -> None:
    """Takes the result from a run that is to go on, with all that was measured of its weights.

    Args:
        folder: Folder of the run.
        before: Config of the run.
        config: The same with more epochs.

    Raises:
        ConfigError: With more epochs from the start it would have trained otherwise.
    """
    if reason := _reason_against(before):
        raise ConfigError(
            f"{folder} cannot go on to {config.epochs} epochs: {reason}; train in a new folder"
        )
    # Before config.json has the new number: a kill leaves a run that measures its result again.
    for pattern in (RESULT, *_MEASURED):
        for path in folder.glob(pattern):
            log.warning("%s is removed: it is of %d epochs", path, before.epochs)
            path.unlink()


def _reason_against(before: TrainConfig) -> str:
    """Reason why more epochs would have made it another run; empty if there is none."""
    if before.schedule.name == "cosine":
        return f"its cosine has brought the rate to 0 over {before.epochs} epochs"
    if plans_by_total(METHODS.target(before.method)):
        return f"the method {before.method} plans by the number of epochs"
    return ""


def plans_by_total(method: type) -> bool:
    """Whether the code of a method's class asks for `Run.planned`; that of its bases included."""
    functions = (
        inspect.unwrap(value)  # Out of what decorators have put around it.
        for each in method.__mro__
        if each not in (Method, object)
        for value in vars(each).values()
        if callable(value)
    )
    return any(
        "planned" in code.co_names
        for function in functions
        if isinstance(code := getattr(function, "__code__", None), CodeType)
    )
