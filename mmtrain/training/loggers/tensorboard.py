"""Event files for TensorBoard in RUN/tensorboard: ``tensorboard --logdir runs`` shows them."""

from collections.abc import Mapping
from typing import Any, Final

from mmtrain.training.loggers.base import Subject

FOLDER: Final = "tensorboard"


class TensorBoard:
    """Writes event files.

    Args:
        writer: Writer of the files.
    """

    id: str = FOLDER

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Takes figures of an epoch, counted from 1."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def close(self, outcome: str) -> None:
        """Closes the file."""
        self._writer.close()


def start(subject: Subject) -> TensorBoard:
    """Starts a file; points of earlier ones behind the epochs that count are hidden."""
    from torch.utils.tensorboard import SummaryWriter

    behind = subject.epochs + 1 if subject.epochs else None
    return TensorBoard(SummaryWriter(str(subject.folder / FOLDER), purge_step=behind))
