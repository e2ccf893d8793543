"""Makes the parts of a run from its config: shards, feed, method, curriculum, model."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch

from mmprep.format.damage import naming_damage
from mmtrain.config.overrides import require_consent, require_encoders, resolved
from mmtrain.config.run import TrainConfig
from mmtrain.curricula.base import Curriculum
from mmtrain.curricula.catalog import CURRICULA
from mmtrain.data import OrderedStream, ShardedDataset, Share, StreamOptions, View, open_dataset
from mmtrain.data.batches.text import vocabulary_of
from mmtrain.data.reading.options import RetryPolicy
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.methods.base import Method
from mmtrain.methods.catalog import METHODS
from mmtrain.modalities import TOKENS, modality
from mmtrain.models.catalog import ENCODERS, FUSIONS
from mmtrain.models.encoders import InputSize
from mmtrain.models.multimodal import MultimodalModel, channels_of
from mmtrain.tasks.catalog import TASKS
from mmtrain.tasks.needs import CLASSES, require
from mmtrain.tasks.task import Task
from mmtrain.training import scores
from mmtrain.training.data_facts import DataFacts
from mmtrain.training.device import device_of
from mmtrain.training.feed import Feed
from mmtrain.training.ranks import ALONE, Ranks
from mmtrain.training.start import with_digest

CONFIG: Final = "config.json"


def shards_of(config: TrainConfig) -> ShardedDataset:
    """Opens the shards of a run; the caller closes them.

    Raises:
        ConfigError: There are none, or their build has not finished.
    """
    return open_dataset(
        config.data,
        endpoint=config.endpoint,
        anonymous=config.anonymous,
        retry_for_s=config.retry_for_s,
    )


def fitted(config: TrainConfig, dataset: ShardedDataset) -> TrainConfig:
    """Fills a config in: modalities of the data set, parameters of everything that is chosen.

    Raises:
        ConfigError: The data set does not allow such a run.
    """
    require_encoders(config, dataset.modalities)
    own = tuple(m for m in dataset.description.modalities if m in dataset.modalities)
    config = resolved(replace(config, modalities=config.modalities or own or dataset.modalities))
    dataset.require(config.modalities)
    task = task_of(config, dataset)
    config = with_digest(replace(config, select=_select(config, task)))
    _require_probes(config, dataset, task)
    samples = dataset.splits.get("train", 0)
    if samples < config.step_size:
        raise ConfigError(
            f"{config.data}: the train split has {samples} samples, fewer than one batch of "
            f"{config.step_size}; lower --batch-size"
            f"{' or --accumulate' if config.accumulate > 1 else ''}"
        )
    if device_of(config.device).type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("there is no CUDA device here; choose --device cpu or auto")
    return config


def task_of(config: TrainConfig, dataset: ShardedDataset) -> Task:
    """Makes the task of a run: that of the data set, unless the config asks for another.

    Raises:
        UnknownName: There is no such task.
        ConfigError: The data set lacks what the task learns from.
    """
    return TASKS.target(config.task or dataset.task).of(dataset.annotations)


def task_for(
    config: TrainConfig, dataset: ShardedDataset, method: Method, curriculum: Curriculum
) -> Task:
    """Makes the task of a run, and checks that method and curriculum can do with what it gives.

    Raises:
        ConfigError: One of them needs a trait that the task lacks.
    """
    task = task_of(config, dataset)
    for kind, needs in (("method", method.needs), ("curriculum", curriculum.needs)):
        require(kind, getattr(config, kind), needs, task.name, task.gives)
    return task


def _select(config: TrainConfig, task: Task) -> str:
    """Measure that chooses the epoch: as asked for, or the task's first in place of the default.

    Raises:
        UnknownName: The task has no such measure.
    """
    if config.select in task.measured:
        return config.select
    if config.select != TrainConfig.select:
        raise UnknownName(f"measure of {task.name}", config.select, task.measured)
    return task.measured[0]


def _require_probes(config: TrainConfig, dataset: ShardedDataset, task: Task) -> None:
    """Refuses probes during training where there is nothing to fit or to measure them on.

    Raises:
        ConfigError: The task has no classes, or the data set has no val split.
    """
    if not config.probe_every:
        return
    require("setting", "probe_every", {CLASSES: "the heads that it fits"}, task.name, task.gives)
    if not dataset.splits.get("val"):
        raise ConfigError(f"{config.data}: no val split to measure probes on; drop probe_every")


def recall_scores(path: Path, feed: Feed) -> None:
    """Gives the curriculum another run's last scores.

    Raises:
        ConfigError: The curriculum has no scores, or there is no such file.
        DataError: The scores are of other samples.
    """
    memory = feed.curriculum.memory
    if memory is None:
        raise ConfigError("--scores is for a curriculum that scores, such as bss-l")
    row = scores.last(path, feed.dataset, feed.ids)
    memory.recall({**row, "measured": np.full(len(feed.ids), -1, np.int32)})


def method_of(config: TrainConfig) -> Method:
    """Makes the method of a `fitted` config, as it is before training."""
    return METHODS.load(config.method)(**config.settings["method"])


def curriculum_of(config: TrainConfig) -> Curriculum:
    """Makes the curriculum of a `fitted` config, as it is before training."""
    return CURRICULA.load(config.curriculum)(**config.settings["curriculum"])


def feed_of(
    config: TrainConfig, dataset: ShardedDataset, method: Method, ranks: Ranks = ALONE
) -> Feed:
    """Makes the streams of a `fitted` config, with the share of one of the ranks."""
    view = View(**asdict(config.view))
    options = StreamOptions(
        workers=config.workers,
        retry=RetryPolicy(give_up_s=config.retry_for_s),
        pin=device_of(config.device).type == "cuda",
        cache=None if config.cache is None else Path(config.cache),
        cache_bytes=config.cache_size,
        skip_damaged=config.skip_corrupt,
    )
    share = Share(rank=ranks.rank, ranks=ranks.world)
    training, evaluation = (
        OrderedStream(dataset, config.modalities, size, each, share, options)
        for each, size in ((view, config.step_size), (view.evaluation(), config.batch_size))
    )
    task, annotations = task_of(config, dataset), dataset.annotations
    training.targets = evaluation.targets = lambda ids: task.targets(annotations.of(ids))
    labels = task.labels(annotations)
    return Feed(training, evaluation, curriculum_of(config), labels, config.seed, method.holds_out)


def sizes_of(config: TrainConfig, feed: Feed) -> dict[str, InputSize]:
    """Modality to the size of its encoder's input, of a `fitted` config and inputs of ``feed``."""
    texts = any(modality(m).kind == TOKENS for m in config.modalities)
    vocabulary = vocabulary_of(config.view.tokenizer) if texts else None
    return channels_of(feed.first().inputs, vocabulary)


def model_of(config: TrainConfig, feed: Feed) -> MultimodalModel:
    """Makes the untrained model of a `fitted` config, for inputs as ``feed`` gives them."""
    return model_for(config, sizes_of(config, feed), task_of(config, feed.dataset).outputs)


def model_for(config: TrainConfig, sizes: Mapping[str, InputSize], outputs: int) -> MultimodalModel:
    """Makes the untrained model of a `fitted` config.

    Args:
        config: The config.
        sizes: Modality to the size of its encoder's input.
        outputs: Entries of a sample's logits.
    """
    encoders = {
        m: partial(ENCODERS.load(config.encoder_of(m)), **config.encoder_settings(m)) for m in sizes
    }
    return MultimodalModel.build(
        sizes,
        encoders,
        partial(FUSIONS.load(config.fusion), classes=outputs, **config.settings["fusion"]),
        seed=config.seed,
    )


def facts_of(config: TrainConfig, dataset: ShardedDataset) -> DataFacts:
    """Facts about the data of a `fitted` config, which outlive the shards."""
    feed = feed_of(config, dataset, method_of(config))
    return DataFacts.of(dataset, config.task or dataset.task, sizes_of(config, feed))


def config_of(folder: Path) -> TrainConfig:
    """Reads the config of the run in ``folder``, to compute with it.

    Raises:
        ConfigError: There is none, or it names a plug-in without consent, see `plugins.allowing`.
        DataError: It is damaged.
    """
    config = read_config(folder / CONFIG)
    require_consent(config, str(folder / CONFIG))
    return config


def read_config(path: Path) -> TrainConfig:
    """Reads the config of a run from its config.json, to show it; loads nothing that it names.

    Raises:
        ConfigError: There is no such file.
        DataError: It is damaged.
    """
    if not path.exists():
        raise ConfigError(f"{path.parent} holds no run: there is no {path.name}")
    with naming_damage(str(path), "take it from a copy of the run, or train in a new folder"):
        return TrainConfig.from_json(path.read_text("utf-8"), str(path))
