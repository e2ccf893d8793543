"""Export of the numbers of the report to event files for TensorBoard."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmtrain.errors import ConfigError
from mmtrain.report.runs.read import RunRecord, read_runs
from mmtrain.training.loggers.figures import figures, measured, whole_lines
from mmtrain.training.run import METRICS
from mmtrain.training.train import RESULT


def export(runs: Sequence[Path], folder: Path) -> None:
    """Writes a folder of event files for each run. Steps are epochs, counted from 1.

    Args:
        runs: Folders of runs.
        folder: Folder in which each run gets one of its own; earlier exports there are replaced.

    Raises:
        ConfigError: The package tensorboard is not installed, or a folder holds no run.
        DataError: A file of a run is damaged.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "--tensorboard needs the package tensorboard; install it by "
            "`pip install 'mmprep[tensorboard]'`"
        ) from error
    for record in read_runs(runs):
        own = folder / record.name
        for old in own.glob("events.out.tfevents.*"):
            old.unlink()
        with SummaryWriter(str(own)) as writer:
            for name, value, step in scalars(record):
                writer.add_scalar(name, value, step)


def scalars(record: RunRecord) -> Iterator[tuple[str, float, int]]:
    """Yields name, value and step of everything that a run has measured."""
    for line in whole_lines(record.folder / METRICS):
        for name, value in figures(line).items():
            yield name, value, line["epoch"] + 1
    for probes in record.probes_by_epoch:
        for modality, accuracy in probes.accuracy.items():
            yield f"probe/{modality}", accuracy, probes.epochs
    if record.result and record.test:
        result = json.loads((record.folder / RESULT).read_bytes())
        for name, value in measured("test", result["test"]):
            yield name, value, record.result.best_epoch + 1
