"""A run from its config to its result: puts the parts together, trains, tests once."""

import fcntl
import json
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch

from mmprep.format.damage import naming_damage
from mmprep.format.fields import parse_json
from mmtrain import files
from mmtrain.config.overrides import with_defaults
from mmtrain.config.run import TrainConfig
from mmtrain.data import ShardedDataset
from mmtrain.errors import ConfigError, RunError
from mmtrain.tasks.catalog import CLASSIFICATION
from mmtrain.training import history
from mmtrain.training.assemble import assemble, require_buildable
from mmtrain.training.checkpoint import BEST
from mmtrain.training.data_facts import PREPARATION
from mmtrain.training.device import device_of, set_up
from mmtrain.training.extend import RESULT as RESULT
from mmtrain.training.extend import is_longer, reopen
from mmtrain.training.history import Origin
from mmtrain.training.metrics_log import MetricsFile
from mmtrain.training.observers import observed
from mmtrain.training.parts import CONFIG, config_of, facts_of, fitted, shards_of
from mmtrain.training.ranks import Ranks, join_ranks
from mmtrain.training.run import METRICS, Run
from mmtrain.training.watch import Watch

log = logging.getLogger(__name__)

_NEW: Final = Origin()


def train(
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    watch: Watch | None = None,
    origin: Origin = _NEW,
) -> dict[str, Any]:
    """Trains, tests the epoch that was best on val, and returns the contents of RUN/result.json.

    Args:
        config: Config of the run.
        folder: RUN; new or empty, unless ``resume``.
        resume: Whether to go on with the run in ``folder``, or start it if there is none.
        watch: Observer of the progress.
        origin: Origin of the config, which run.json names.

    Raises:
        ConfigError: The request does not fit the data, ``folder`` holds another run, or the data
            are not those of the run that is started again.
        RunError: The loss is not finite, memory is short, or a signal asked to stop.
        DataError: A sample is damaged.
    """
    with join_ranks(set_up(config.device)) as ranks, shards_of(config) as dataset:
        root = dataset.description.root
        origin.require_data(root, config.data)
        config = fitted(config, dataset)
        if not ranks.first:
            watch = None
        if not (folder / CONFIG).exists():
            # Before the folder is made: one that holds a config refuses the corrected request.
            with explain_lack_of_memory(config):
                require_buildable(config, dataset)
        with (
            _hold_folder(folder, config, resume, ranks),
            compute_reproducibly(config),
            explain_lack_of_memory(config),
        ):
            done = folder / RESULT
            if not done.exists():
                if ranks.first and not (folder / PREPARATION).exists():
                    facts_of(config, dataset).write(folder)
                with (
                    history.recorded(folder, config, root, origin, ranks),
                    observed(config, done, watch) if ranks.first else nullcontext() as watch,
                ):
                    _fit_and_test(config, dataset, folder, watch, ranks)
            # From the file on all ranks, for only the first has measured everything.
            return result_of(folder)


def _fit_and_test(
    config: TrainConfig,
    dataset: ShardedDataset,
    folder: Path,
    watch: Watch | None,
    ranks: Ranks,
) -> None:
    """Trains to the end, and writes result.json."""
    assembled = assemble(config, dataset, folder, watch=watch, ranks=ranks)
    with assembled as run, _stop_on_signals(run):
        run.method.fit(run)
    result = _result(config, dataset, folder, ranks)
    if ranks.first:
        text = json.dumps(result, indent=1)
        files.replace(folder / RESULT, lambda file: file.write(f"{text}\n".encode()))
    ranks.wait()


def result_of(folder: Path) -> dict[str, Any]:
    """Content of result.json of the finished run in ``folder``.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / RESULT
    with naming_damage(str(path), "remove it, and --resume measures again"):
        result = {**parse_json(path.read_bytes())}
        for name in ("val", "test"):
            if result[name] is not None:
                float(result[name]["loss"])
    return result


def _result(
    config: TrainConfig, dataset: ShardedDataset, folder: Path, ranks: Ranks
) -> dict[str, Any]:
    ranks.wait()  # The first writes the best weights, which all are about to read.
    run = assemble(config, dataset, folder, file=BEST, ranks=ranks)
    lines = MetricsFile(folder / METRICS).read()
    return {
        "run": str(folder),
        "method": config.method,
        **named_task(run.task.name),
        "curriculum": config.curriculum,
        "modalities": list(config.modalities),
        "epochs": sum("trial" not in line for line in lines),
        "best_epoch": run.best["epoch"],
        "val": run.best["val"],
        "test": run.evaluate("test") if dataset.splits.get("test") else None,
        "train_seconds": round(sum(line["seconds"] for line in lines), 3),
    }


def named_task(name: str) -> dict[str, str]:
    """``task`` of a result; left out for classification, as before there were other tasks."""
    return {} if name == CLASSIFICATION else {"task": name}


@contextmanager
def _hold_folder(folder: Path, config: TrainConfig, resume: bool, ranks: Ranks) -> Iterator[None]:
    """Holds RUN, with its config in it, for the ranks of this command alone."""
    if not ranks.first:
        ranks.wait()
        yield
        return
    # A kill leaves files that were written aside and never renamed; they are no run.
    there = folder.exists() and any(not p.name.endswith(".partial") for p in folder.iterdir())
    if there and not resume:
        raise ConfigError(f"{folder} is not empty; choose another --out, or go on with --resume")
    before = with_defaults(config_of(folder)) if there else None
    longer = before is not None and is_longer(before, config)
    if before and not longer and (changed := before.differences(config)):
        raise ConfigError(
            f"{folder} holds another run: {'; '.join(changed)}. Resume it as it was, or choose "
            "another --out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder):
        if before and longer:
            reopen(folder, before, config)
        text, path = config.to_json().encode(), folder / CONFIG
        # A resumed run may have its data, its device and others of `FREE` elsewhere from now on.
        if not path.exists() or path.read_bytes() != text:
            files.replace(path, lambda file: file.write(text))
        ranks.wait()
        yield


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    # On the folder itself, so that no file is left behind by a kill; the kernel lets go of it.
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigError(f"{folder}: another process is training this run") from error
    finally:
        os.close(lock)


@contextmanager
def compute_reproducibly(config: TrainConfig) -> Iterator[None]:
    """Makes torch add up in the same order each time, bit for bit, on the CPU."""
    if device_of(config.device).type != "cpu":
        yield
        return
    deterministic: Any = torch.utils.deterministic  # Its switch is no attribute to mypy.
    before, filling = torch.get_deterministic_debug_mode(), deterministic.fill_uninitialized_memory
    torch.set_deterministic_debug_mode("error")
    if config.compile:
        # For the compiler as well, whose import takes a second of every process that trains.
        torch.use_deterministic_algorithms(True)
    # With it on, torch fills every new tensor, to expose reads of memory that was never written.
    deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        if config.compile:
            torch.use_deterministic_algorithms(bool(before))
        torch.set_deterministic_debug_mode(before)
        deterministic.fill_uninitialized_memory = filling


@contextmanager
def explain_lack_of_memory(config: TrainConfig) -> Iterator[None]:
    """Names the settings that need less memory, in place of torch's message."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # The CPU's allocator has no class of its own.
        plain = isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError)
        if plain and "allocate memory" not in str(error):
            raise
        raise RunError(
            f"out of memory with a batch size of {config.batch_size}, {config.view.frames} frames "
            f"of {config.view.size} pixels in {config.precision}; lower --batch-size in a new "
            "run, or split its steps by --accumulate"
        ) from error


@contextmanager
def _stop_on_signals(run: Run) -> Iterator[None]:
    """Ends the run after its step at the first SIGINT or SIGTERM, and at once at a second one."""

    def stop(number: int, frame: FrameType | None) -> None:
        if run.stopping:
            raise KeyboardInterrupt
        run.stopping = True

    try:
        before = {number: signal.signal(number, stop) for number in _SIGNALS}
    except ValueError:  # Only the main thread may set handlers.
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
