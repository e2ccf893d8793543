"""From a config to the run that carries it out."""

import logging
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch

from mmtrain.config.overrides import resolved
from mmtrain.config.run import TrainConfig
from mmtrain.curricula.base import Curriculum
from mmtrain.curricula.catalog import CURRICULA
from mmtrain.data import OrderedStream, ShardedDataset, Share, StreamOptions, View, open_dataset
from mmtrain.errors import ConfigError
from mmtrain.methods.base import Method
from mmtrain.methods.catalog import METHODS
from mmtrain.models.catalog import ENCODERS, FUSIONS
from mmtrain.models.multimodal import MultimodalModel, channels_of
from mmtrain.training import scores
from mmtrain.training.device import device_of
from mmtrain.training.feed import Feed
from mmtrain.training.ranks import ALONE, Ranks
from mmtrain.training.run import CHECKPOINT, Run
from mmtrain.training.watch import Watch

log = logging.getLogger(__name__)

CONFIG: Final = "config.json"


def shards_of(config: TrainConfig) -> ShardedDataset:
    """The shards of a run, to be closed.

    Raises:
        ConfigError: Nothing there, or a build that has not finished.
    """
    return open_dataset(config.data, endpoint=config.endpoint, anonymous=config.anonymous)


def fitted(config: TrainConfig, dataset: ShardedDataset) -> TrainConfig:
    """The config in full: modalities of the data set, parameters of what is chosen.

    Raises:
        ConfigError: The data set cannot be trained on like this.
    """
    own = tuple(m for m in dataset.description.modalities if m in dataset.modalities)
    config = resolved(replace(config, modalities=config.modalities or own or dataset.modalities))
    dataset.require(config.modalities)
    samples = dataset.splits.get("train", 0)
    if samples < config.batch_size:
        raise ConfigError(
            f"{config.data}: the train split has {samples} samples, fewer than one batch of "
            f"{config.batch_size}; lower --batch-size"
        )
    if device_of(config.device).type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("there is no CUDA device here; choose --device cpu or auto")
    return config


def assemble(
    config: TrainConfig,
    dataset: ShardedDataset,
    folder: Path,
    *,
    file: str = CHECKPOINT,
    watch: Watch | None = None,
    ranks: Ranks = ALONE,
) -> Run:
    """The run of a `fitted` config, with what ``file`` of ``folder`` holds if it is there.

    Args:
        config: What to do.
        dataset: Is read.
        folder: RUN.
        file: ``CHECKPOINT`` to train, ``BEST`` to look at the weights that were best on val.
        watch: Is told how far it is.
        ranks: The processes that train together.
    """
    if ranks.first:
        _warn_of_unseen_classes(dataset)
        if file == CHECKPOINT:
            _report_inputs(config, dataset)
    return _made(config, dataset, folder, file, watch, ranks)


def require_buildable(config: TrainConfig, dataset: ShardedDataset) -> None:
    """Makes the run of a `fitted` config in a folder that is thrown away.

    A request that cannot be carried out, such as a missing file of weights, then fails before it
    leaves a folder that looks like a run.

    Raises:
        ConfigError: The run cannot be made.
        DataError: The scores or the first sample are damaged.
    """
    with tempfile.TemporaryDirectory() as aside:
        _made(config, dataset, Path(aside), CHECKPOINT, None, ALONE).__exit__()


def _made(
    config: TrainConfig,
    dataset: ShardedDataset,
    folder: Path,
    file: str,
    watch: Watch | None,
    ranks: Ranks,
) -> Run:
    method = method_of(config)
    feed = feed_of(config, dataset, method, ranks)
    if config.scores is not None:
        _start_from(Path(config.scores), feed)
    return Run(config, model_of(config, feed), method, feed, folder, watch, file, ranks)


def _start_from(path: Path, feed: Feed) -> None:
    """Gives the curriculum another run's last scores.

    Raises:
        ConfigError: It has no use for them, or there is no such file.
        DataError: They are of other samples.
    """
    memory = feed.curriculum.memory
    if memory is None:
        raise ConfigError("--scores is for a curriculum that scores, such as bss-l")
    row = scores.last(path, feed.dataset, feed.ids)
    memory.recall({**row, "measured": np.full(len(feed.ids), -1, np.int32)})


def method_of(config: TrainConfig) -> Method:
    """The method of a `fitted` config, as it starts."""
    return METHODS.load(config.method)(**config.settings["method"])


def curriculum_of(config: TrainConfig) -> Curriculum:
    """The curriculum of a `fitted` config, as it starts."""
    return CURRICULA.load(config.curriculum)(**config.settings["curriculum"])


def feed_of(
    config: TrainConfig, dataset: ShardedDataset, method: Method, ranks: Ranks = ALONE
) -> Feed:
    """What the run of a `fitted` config reads, on one of the ranks."""
    shown = config.view
    view = View(frames=shown.frames, size=shown.size, crop=shown.crop, flip=shown.flip)
    options = StreamOptions(
        workers=config.workers,
        pin=device_of(config.device).type == "cuda",
        cache=None if config.cache is None else Path(config.cache),
        cache_bytes=config.cache_size,
        skip_damaged=config.skip_corrupt,
    )
    share = Share(rank=ranks.rank, ranks=ranks.world)
    training, evaluation = (
        OrderedStream(dataset, config.modalities, config.batch_size, each, share, options)
        for each in (view, view.evaluation())
    )
    return Feed(training, evaluation, curriculum_of(config), config.seed, method.holds_out)


def model_of(config: TrainConfig, feed: Feed) -> MultimodalModel:
    """The untrained model of a `fitted` config, for inputs as ``feed`` gives them."""
    classes = len(feed.dataset.classes)
    return MultimodalModel.build(
        channels_of(feed.first().inputs),
        partial(ENCODERS.load(config.encoder), **config.settings["encoder"]),
        partial(FUSIONS.load(config.fusion), classes=classes, **config.settings["fusion"]),
        seed=config.seed,
    )


def config_of(folder: Path) -> TrainConfig:
    """The config of the run in ``folder``.

    Raises:
        ConfigError: There is none.
    """
    path = folder / CONFIG
    if not path.exists():
        raise ConfigError(f"{folder} holds no run: there is no {CONFIG}")
    return TrainConfig.from_json(path.read_text("utf-8"), str(path))


def _report_inputs(config: TrainConfig, dataset: ShardedDataset) -> None:
    """Logs the modalities of the run, and warns where clips have fewer frames than the view."""
    others = [m for m in dataset.modalities if m not in config.modalities]
    more = f" (also in the shards: {', '.join(others)})" if others else ""
    log.info("modalities %s%s", ", ".join(config.modalities), more)
    ids = dataset.ids("train")
    for modality, part in dataset.require(config.modalities).items():
        # One member is one frame, but for parts that have a single member for the whole clip.
        column = dataset.index.parts.index(part)
        most = int(dataset.index.counts[ids, column].max())
        if modality != "audio" and most < config.view.frames:
            log.warning(
                "view.frames is %d, and no clip has more than %d %s: frames will repeat",
                *(config.view.frames, most, "frame" if most == 1 else "frames"),
            )


def _warn_of_unseen_classes(dataset: ShardedDataset) -> None:
    if not dataset.splits.get("val"):
        log.warning("no sample in val: no epoch is judged, and the last weights count as the best")
    seen = set(dataset.targets[dataset.ids("train")].tolist())
    for split in dataset.splits:
        unseen = sorted(set(np.unique(dataset.targets[dataset.ids(split)]).tolist()) - seen)
        if unseen:
            names = ", ".join(dataset.classes[c] for c in unseen)
            log.warning("the train split has no sample of %s, which %s has", names, split)
