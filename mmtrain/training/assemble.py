"""Puts a run together from its config: data, feed, model, method."""

import logging
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmtrain.config.run import TrainConfig
from mmtrain.data import ShardedDataset
from mmtrain.modalities import PICTURES, modality
from mmtrain.tasks.needs import CLASSES
from mmtrain.training.accumulation import take_pieces
from mmtrain.training.checkpoint import CHECKPOINT
from mmtrain.training.device import set_up
from mmtrain.training.parts import feed_of, method_of, model_of, recall_scores, task_of
from mmtrain.training.ranks import ALONE, Ranks
from mmtrain.training.run import Run
from mmtrain.training.start import start_of
from mmtrain.training.watch import Watch

log = logging.getLogger(__name__)


def assemble(
    config: TrainConfig,
    dataset: ShardedDataset,
    folder: Path,
    *,
    file: str = CHECKPOINT,
    watch: Watch | None = None,
    ranks: Ranks = ALONE,
) -> Run:
    """Makes the run of a `fitted` config, with the state in ``file`` of ``folder`` if there is one.

    Args:
        config: Config of the run.
        dataset: Shards of the run.
        folder: Folder of the run.
        file: ``CHECKPOINT`` to train, ``BEST`` to look at the weights that were best on val.
        watch: Receiver of the progress.
        ranks: Processes that train together.
    """
    set_up(config.device)  # Before the first batch is pinned, which makes a context on a GPU.
    if ranks.first:
        _warn_of_unseen_classes(config, dataset)
        if file == CHECKPOINT:
            _report_inputs(config, dataset)
    run, lines = _made(config, dataset, folder, file, watch, ranks)
    for line in lines if ranks.first else ():
        log.info("%s", line)
    return run


def require_buildable(config: TrainConfig, dataset: ShardedDataset) -> None:
    """Makes the run of a `fitted` config in a folder that is thrown away.

    A request that cannot be carried out, such as a missing file of weights, then fails before it
    leaves a folder that looks like a run.

    Raises:
        ConfigError: The run cannot be made.
        DataError: The scores or the first sample are damaged.
    """
    with tempfile.TemporaryDirectory() as aside:
        _made(config, dataset, Path(aside), CHECKPOINT, None, ALONE)[0].__exit__()


def _made(
    config: TrainConfig,
    dataset: ShardedDataset,
    folder: Path,
    file: str,
    watch: Watch | None,
    ranks: Ranks,
) -> tuple[Run, list[str]]:
    """The run, and lines on the weights that it starts from."""
    method = method_of(config)
    feed = feed_of(config, dataset, method, ranks)
    if config.scores is not None:
        recall_scores(Path(config.scores), feed)
    model = model_of(config, feed)
    take_pieces(config, method, model, ranks)
    # Whoever goes on from a checkpoint needs no other weights.
    start = None if (folder / file).exists() else start_of(config)
    # Before the method's setup, which may remember the weights that encoders begin with.
    reasons = {} if start is None else start.fill_encoders(model)
    run = Run(config, model, method, feed, folder, watch, file, ranks)
    if start is None:
        return run, []
    answers = run.task.name, tuple(run.classes)
    reasons |= start.fill_rest(run.model, answers, dataset.description.root)
    return run, start.summary(reasons, run.model)


def _report_inputs(config: TrainConfig, dataset: ShardedDataset) -> None:
    """Logs the modalities of the run, and warns where clips have fewer frames than the view."""
    others = [m for m in dataset.modalities if m not in config.modalities]
    more = f" (also in the shards: {', '.join(others)})" if others else ""
    log.info("modalities %s%s", ", ".join(config.modalities), more)
    ids = dataset.ids("train")
    for name, part in dataset.require(config.modalities).items():
        # One member is one frame, but for parts that have a single member for the whole clip.
        column = dataset.index.parts.index(part)
        most = int(dataset.index.counts[ids, column].max())
        if modality(name).kind == PICTURES and most < config.view.frames:
            log.warning(
                "view.frames is %d, and no clip has more than %d %s: frames will repeat",
                *(config.view.frames, most, "frame" if most == 1 else "frames"),
            )


def _warn_of_unseen_classes(config: TrainConfig, dataset: ShardedDataset) -> None:
    if not dataset.splits.get("val"):
        log.warning("no sample in val: no epoch is judged, and the last weights count as the best")
    task = task_of(config, dataset)
    if CLASSES not in task.gives:
        return
    labels, classes = task.labels(dataset.annotations), task.classes(dataset.annotations)

    def counts(split: str) -> NDArray[np.int64]:
        return np.bincount(labels[dataset.ids(split)], minlength=len(classes))

    seen = counts("train") > 0
    for split in dataset.splits:
        unseen = np.flatnonzero((counts(split) > 0) & ~seen)
        if len(unseen):
            names = ", ".join(classes[c] for c in unseen)
            log.warning("the train split has no sample of %s, which %s has", names, split)
