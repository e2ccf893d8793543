"""Errors that name the samples of a step, and the way back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor

from mmtrain.data import ShardedDataset
from mmtrain.errors import Interrupted, RunError

_KEYS_SHOWN: Final = 8


@dataclass(frozen=True, kw_only=True)
class Failures:
    """Makes the errors of values that are not finite.

    Attributes:
        dataset: Data set that gives the samples their keys.
        checkpoint: Path of the run's checkpoint, which may not be there yet.
    """

    dataset: ShardedDataset
    checkpoint: Path

    def loss(self, value: float, step: int, epoch: int, ids: Tensor | None) -> RunError:
        """Error of a loss that is not finite, at ``step`` of the run, from 0."""
        samples = "" if ids is None else f", samples {self._keys(ids)}"
        return RunError(
            f"the loss is {value} at step {step + 1} (epoch {epoch + 1}){samples}. {self._advice()}"
        )

    def prediction(self, ids: Tensor) -> RunError:
        """Error of a prediction that is not finite, in an evaluation."""
        return RunError(f"{self._keys(ids)}: the model gives no number. {self._advice()}")

    def _keys(self, ids: Tensor) -> str:
        keys = [self.dataset.key(i) for i in ids.tolist()]
        more = f" and {len(keys) - _KEYS_SHOWN} more" if len(keys) > _KEYS_SHOWN else ""
        return ", ".join(keys[:_KEYS_SHOWN]) + more

    def _advice(self) -> str:
        if not self.checkpoint.exists():
            return "There is no checkpoint yet; lower lr, or set clip"
        return f"The last good checkpoint is {self.checkpoint}; lower lr, or set clip, in a new run"


def interruption(epoch: int, step: int, steps: int, trial: bool) -> Interrupted:
    """Error that ends a run which was asked to stop, behind one of the steps of an epoch.

    Args:
        epoch: Epoch, from 0.
        step: Number of the epoch's steps that are done.
        steps: Steps of the epoch.
        trial: Whether it is an epoch of a trial.
    """
    where = " of a trial, which begins anew" if trial else ""
    return Interrupted(
        f"Stopped at epoch {epoch + 1}, step {step} of {steps}{where}. The same command with "
        "--resume goes on from here"
    )
