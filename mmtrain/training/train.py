"""A run from its config to its result: puts the parts together, trains, tests once."""

import fcntl
import json
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch

from mmtrain import files
from mmtrain.config.run import TrainConfig
from mmtrain.data import ShardedDataset
from mmtrain.errors import ConfigError, RunError
from mmtrain.training.assemble import (
    CONFIG,
    assemble,
    config_of,
    fitted,
    require_buildable,
    shards_of,
)
from mmtrain.training.device import device_of
from mmtrain.training.metrics_log import MetricsFile
from mmtrain.training.ranks import Ranks, joined
from mmtrain.training.run import BEST, METRICS, Run
from mmtrain.training.watch import Watch

log = logging.getLogger(__name__)

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
        if not (folder / CONFIG).exists():
            # Before the folder is made: one that holds a config refuses the corrected request.
            with _memory_named(config):
                require_buildable(config, dataset)
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
                    files.replace(done, lambda file: file.write(f"{text}\n".encode()))
                ranks.wait()
            found: dict[str, Any] = json.loads(done.read_text("utf-8"))
            return found


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
            files.replace(folder / CONFIG, lambda file: file.write(text))
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
