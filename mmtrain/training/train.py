"""A run from its config to its result: puts the parts together, trains, tests once."""

import fcntl
import json
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import numpy as np
import torch

from mmtrain.catalog import CURRICULA, ENCODERS, FUSIONS, METHODS
from mmtrain.config.overrides import resolved
from mmtrain.config.run import TrainConfig
from mmtrain.curricula.base import Curriculum
from mmtrain.data import Loading, OrderedStream, ShardedDataset, Share, View, open_dataset
from mmtrain.errors import ConfigError, RunError
from mmtrain.methods import Method
from mmtrain.models import MultimodalModel, channels_of
from mmtrain.training import checkpoint, scores
from mmtrain.training.feed import Feed
from mmtrain.training.metrics_log import MetricsFile, Watch
from mmtrain.training.ranks import ALONE, Ranks, joined
from mmtrain.training.run import BEST, CHECKPOINT, METRICS, Run, device_of

log = logging.getLogger(__name__)

CONFIG: Final = "config.json"
RESULT: Final = "result.json"


def train(
    config: TrainConfig, folder: Path, *, resume: bool = False, watch: Watch | None = None
) -> dict[str, Any]:
    """Trains, then tests the epoch that was best on val, and returns what RUN/result.json says.

    Args:
        config: What to do.
        folder: RUN. New or empty, unless ``resume``.
        resume: Go on with the run in ``folder``; start it if there is none.
        watch: Is told how far it is.

    Raises:
        ConfigError: The request does not fit the data, or ``folder`` holds another run.
        RunError: The loss is not finite, memory is short, or a signal asked to stop.
        DataError: A sample is damaged.
    """
    with joined(device_of(config.device)) as ranks, shards_of(config) as dataset:
        config = fitted(config, dataset)
        if not ranks.first:
            watch = None
        with (
            _held(folder, config, resume, ranks),
            _deterministic(config),
            _memory_named(config),
        ):
            done = folder / RESULT
            if not done.exists():
                made = assemble(config, dataset, folder, watch=watch, ranks=ranks)
                with made as run, _stoppable(run):
                    run.method.fit(run)
                result = _result(config, dataset, folder, ranks)
                if ranks.first:
                    text = json.dumps(result, indent=1)
                    checkpoint.replace(done, lambda file: file.write(f"{text}\n".encode()))
                ranks.wait()
            found: dict[str, Any] = json.loads(done.read_text("utf-8"))
            return found


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
    loading = Loading(
        workers=config.workers,
        pin=device_of(config.device).type == "cuda",
        cache=None if config.cache is None else Path(config.cache),
        cache_bytes=config.cache_size,
        skip_damaged=config.skip_corrupt,
    )
    share = Share(rank=ranks.rank, ranks=ranks.world)
    training, evaluation = (
        OrderedStream(dataset, config.modalities, config.batch_size, each, share, loading)
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


def _result(
    config: TrainConfig, dataset: ShardedDataset, folder: Path, ranks: Ranks
) -> dict[str, Any]:
    ranks.wait()  # For the first to have written the best weights.
    run = assemble(config, dataset, folder, file=BEST, ranks=ranks)
    lines = MetricsFile(folder / METRICS).read()
    return {
        "run": str(folder),
        "method": config.method,
        "curriculum": config.curriculum,
        "modalities": list(config.modalities),
        "epochs": len(lines),
        "best_epoch": run.best["epoch"],
        "val": run.best["val"],
        "test": run.evaluate("test") if dataset.splits.get("test") else None,
        "train_seconds": round(sum(line["seconds"] for line in lines), 3),
    }


@contextmanager
def _held(folder: Path, config: TrainConfig, resume: bool, ranks: Ranks) -> Iterator[None]:
    """RUN with its config in it, for the ranks of this command alone."""
    if not ranks.first:
        ranks.wait()
        yield
        return
    # What is written aside and was never renamed is nobody's.
    there = folder.exists() and any(not p.name.endswith(".partial") for p in folder.iterdir())
    if there and not resume:
        raise ConfigError(f"{folder} is not empty; choose another --out, or go on with --resume")
    if there and (changed := config_of(folder).differences(config)):
        raise ConfigError(
            f"{folder} holds another run: {'; '.join(changed)}. Resume it as it was, or choose "
            "another --out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if not there:
            text = config.to_json().encode()
            checkpoint.replace(folder / CONFIG, lambda file: file.write(text))
        ranks.wait()
        yield


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigError(f"{folder}: another process is training this run") from error
    finally:
        os.close(lock)


@contextmanager
def _deterministic(config: TrainConfig) -> Iterator[None]:
    """On the CPU, the same sums in the same order, bit for bit."""
    if device_of(config.device).type != "cpu":
        yield
        return
    deterministic: Any = torch.utils.deterministic  # Its switch is no attribute to mypy.
    before = torch.are_deterministic_algorithms_enabled()
    filling = deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    # It would write over every new tensor, to show reads of what was never written.
    deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        deterministic.fill_uninitialized_memory = filling


@contextmanager
def _memory_named(config: TrainConfig) -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # The CPU's allocator has no class of its own.
        plain = isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError)
        if plain and "allocate memory" not in str(error):
            raise
        raise RunError(
            f"out of memory with a batch size of {config.batch_size}, {config.view.frames} frames "
            f"of {config.view.size} pixels in {config.precision}; lower --batch-size in a new run"
        ) from error


@contextmanager
def _stoppable(run: Run) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the run after its step; a second one at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if run.stopping:
            raise KeyboardInterrupt
        run.stopping = True

    try:
        before = {number: signal.signal(number, stop) for number in _SIGNALS}
    except ValueError:  # Not in the main thread, which alone hears signals.
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def _warn_of_unseen_classes(dataset: ShardedDataset) -> None:
    seen = set(dataset.targets[dataset.ids("train")].tolist())
    for split in dataset.splits:
        unseen = sorted(set(np.unique(dataset.targets[dataset.ids(split)]).tolist()) - seen)
        if unseen:
            names = ", ".join(dataset.classes[c] for c in unseen)
            log.warning("the train split has no sample of %s, which %s has", names, split)
