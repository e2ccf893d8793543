"""Export of the numbers of the report to event files for TensorBoard."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmtrain.errors import ConfigError
from mmtrain.report.runs.read import RunRecord, read_runs
from mmtrain.report.runs.records import SplitMeasures


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
    for epoch in record.epochs:
        step = epoch.epoch + 1
        yield "train/loss", epoch.train_loss, step
        yield "train/lr", epoch.lr, step
        yield "speed/seconds", epoch.seconds, step
        yield "speed/samples_per_s", epoch.samples_per_s, step
        yield "speed/data_wait", epoch.data_wait, step
        for name, value in epoch.logged.items():
            quantity, _, which = name.partition(".")
            yield f"{quantity}/{which}" if which else f"method/{quantity}", value, step
        if epoch.val:
            yield from _split_scalars("val", epoch.val, step)
    for line in record.probes_by_epoch:
        for modality, accuracy in line.accuracy.items():
            yield f"probe/{modality}", accuracy, line.epochs
    if record.result and record.test:
        yield from _split_scalars("test", record.test, record.result.best_epoch + 1)


def _split_scalars(
    split: str, of_split: SplitMeasures, step: int
) -> Iterator[tuple[str, float, int]]:
    heads = {split: of_split.fused}
    heads |= {f"{split}.{m}": own for m, own in of_split.modalities.items()}
    for head, measures in heads.items():
        for measure, value in measures.values.items():
            if not math.isnan(value):
                yield f"{head}/{measure}", value, step
        yield f"{head}/loss", measures.loss, step
