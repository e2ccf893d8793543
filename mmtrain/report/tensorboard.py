"""The same numbers as event files for TensorBoard."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mmtrain.errors import ConfigError
from mmtrain.report.runs.read import RunRecord, gather
from mmtrain.report.runs.records import MEASURES, Judged


def export(runs: Sequence[Path], folder: Path) -> None:
    """Writes a folder of event files for each run. Steps are epochs, counted from 1.

    Args:
        runs: Folders.
        folder: Each run gets one in it; what an earlier export wrote there is replaced.

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
    for record in gather(runs):
        own = folder / record.name
        for old in own.glob("events.out.tfevents.*"):
            old.unlink()
        with SummaryWriter(str(own)) as writer:
            for name, value, step in scalars(record):
                writer.add_scalar(name, value, step)


def scalars(record: RunRecord) -> Iterator[tuple[str, float, int]]:
    """Name, value and step of all that a run has measured."""
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
            yield from _judged("val", epoch.val, step)
    if record.result and record.test:
        yield from _judged("test", record.test, record.result.best_epoch + 1)


def _judged(split: str, said: Judged, step: int) -> Iterator[tuple[str, float, int]]:
    heads = {split: said.fused, **{f"{split}.{m}": own for m, own in said.modalities.items()}}
    for head, found in heads.items():
        for measure in (*MEASURES, "loss"):
            yield f"{head}/{measure}", float(getattr(found, measure)), step
