"""A process for each library, so that none meets the threads and settings of another."""

import gc
import multiprocessing
import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib import metadata
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from rivals import load_rival
from rivals.base import VIEW, Batch, Rival, Setting, sound_array, visits
from rivals.ffmpeg import ffmpeg_of_pyav
from rivals.usage import tree_usage

_INSTALL: Final = "scripts/bench/rivals/requirements.txt has what to install, and how"
# Longest wait for an answer, such as that the samples are converted.
_PATIENCE_S: Final = 600
# Epochs of one measurement, where an epoch is short.
_EPOCHS: Final = {"audio": 4}


class Measured(NamedTuple):
    """One measurement of an order.

    Attributes:
        speed: Samples a second.
        cpu_us: Microseconds of the processor a sample.
        read: Bytes read a sample.
    """

    speed: float
    cpu_us: float
    read: float


class Facts(NamedTuple):
    """Facts about a library.

    Attributes:
        refused: Order that it has not, to the reason.
        remarks: Order to a remark.
        mapped: Whether bytes that it reads cannot be counted.
        versions: Names of its distributions with their versions.
    """

    refused: dict[str, str]
    remarks: dict[str, str]
    mapped: bool
    versions: list[str]


class Failed(Exception):
    """A library could not be used, or an epoch was wrong; the message tells why."""


class RivalProcess:
    """A library that runs in a process of its own, which `close` ends.

    Args:
        name: Name of the library in `rivals.RIVALS`.
        setting: Conditions of the measurement.

    Raises:
        Failed: It is not installed, or cannot convert the samples.
    """

    def __init__(self, name: str, setting: Setting) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, setting))
        needs_ffmpeg = name.startswith("spdl")
        with ffmpeg_of_pyav(setting.root / "ffmpeg") if needs_ffmpeg else nullcontext():
            self._process.start()
        theirs.close()
        try:
            self.facts: Facts = self._answer()
        except Failed:
            self.close()
            raise

    def check(self, order: str, epoch: int) -> None:
        """Runs an epoch and compares it with the shards; it starts worker processes, too.

        Raises:
            Failed: The library raised an error, or gave other samples.
        """
        self._connection.send((check_epoch, order, epoch))
        self._answer()

    def measure(self, order: str, epoch: int) -> Measured:
        """Runs an epoch of an order that the library does not refuse.

        Raises:
            Failed: The library raised an error.
        """
        self._connection.send((measure_epoch, order, epoch))
        measured: Measured = self._answer()
        return measured

    def close(self) -> None:
        """Ends the process and those below it."""
        try:
            self._connection.send(None)
            self._process.join(20)
        except OSError:
            pass
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _answer(self) -> Any:
        try:
            if not self._connection.poll(_PATIENCE_S):
                raise Failed(f"no answer in {_PATIENCE_S} s")
            ok, answer = self._connection.recv()
        except EOFError:
            self._process.join()
            raise Failed(f"its process ended with {self._process.exitcode}") from None
        if not ok:
            raise Failed(answer)
        return answer


def _serve(connection: Connection, name: str, setting: Setting) -> None:
    """Answers requests until there are no more."""
    # What DataLoaders take by themselves; this process was started by another way.
    multiprocessing.set_start_method("fork", force=True)
    _quiet(setting.root / f"{name}.log")
    try:
        rival = load_rival(name)(setting)
        rival.prepare()
        connection.send((True, _facts(rival)))
    except ImportError as error:
        connection.send((False, f"not installed ({error}); {_INSTALL}"))
    except Exception as error:
        connection.send((False, _message(error)))
    else:
        while (request := connection.recv()) is not None:
            connection.send(_respond(rival, *request))
        del rival
        gc.collect()
    # Worker processes of some libraries outlive their loaders.
    for child in multiprocessing.active_children():
        child.terminate()


def _respond(
    rival: Rival, task: Callable[[Rival, str, int], object], order: str, epoch: int
) -> tuple[bool, object]:
    try:
        return True, task(rival, order, epoch)
    except Exception as error:
        return False, _message(error)


def _message(error: Exception) -> str:
    traceback.print_exc()
    # Errors of worker processes have the cause at their end.
    lines = [line.strip() for line in str(error).splitlines() if len(line) > 1] or [str(error)]
    return f"{type(error).__name__}: {lines[-1]}"[:300]


def _facts(rival: Rival) -> Facts:
    versions = [f"{name} {metadata.version(name)}" for name in rival.packages]
    return Facts(dict(rival.refused), dict(rival.remarks), rival.mapped, versions)


def _quiet(log: Path) -> None:
    """Sends what libraries print to a file, and sets one thread for each operation."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # Bytes of a message or a mapped file cannot be written to, and nobody does.
    warnings.filterwarnings("ignore", message=".*not writable.*")
    file = os.open(log, os.O_WRONLY | os.O_CREAT, 0o644)
    for output in (1, 2):
        os.dup2(file, output)


def _epochs(rival: Rival, order: str, epoch: int) -> Iterator[Batch]:
    count = _EPOCHS.get(order, 1)
    return chain.from_iterable(rival.epoch(order, epoch * count + i) for i in range(count))


def measure_epoch(rival: Rival, order: str, epoch: int) -> Measured:
    before, begin = tree_usage(), time.perf_counter()
    count = sum(len(batch.numbers) for batch in _epochs(rival, order, epoch))
    seconds, after = time.perf_counter() - begin, tree_usage()
    return Measured(
        count / seconds,
        (after.cpu_s - before.cpu_s) / count * 1e6,
        (after.read - before.read) / count,
    )


def check_epoch(rival: Rival, order: str, epoch: int) -> None:
    """Compares the samples of an epoch with those wanted, and a batch with the shards.

    Raises:
        Failed: They differ.
    """
    numbers: list[int] = []
    for batch in rival.epoch(order, epoch):
        if not numbers:
            _check_batch(rival.setting, batch, order)
        numbers += batch.numbers.tolist()
    samples, batch_size = rival.setting.samples, rival.setting.batch_size
    if order == "scored" and numbers != visits(order, samples, epoch):
        raise Failed("other samples than the order lists")
    if abs(len(numbers) - samples) >= batch_size:
        raise Failed(f"{len(numbers)} samples in place of {samples}")
    if order == "random" and len(set(numbers)) < samples - batch_size:
        raise Failed(f"{len(set(numbers))} different samples of {samples}")


def _check_batch(setting: Setting, batch: Batch, order: str) -> None:
    row, number = len(batch.numbers) - 1, int(batch.numbers[-1])
    sound, wanted = batch.sound[row, 0].numpy(), sound_array(setting.clip(number).sound)
    if sound.dtype != wanted.dtype or not np.array_equal(sound, wanted):
        raise Failed(f"the spectrogram of sample {number} has other values, or {sound.dtype}")
    shape = (VIEW.frames, 3, VIEW.size, VIEW.size)
    if order == "audio":
        if batch.pictures is not None:
            raise Failed("pictures, where sound alone was asked for")
    elif batch.pictures is None or tuple(batch.pictures.shape[1:]) != shape:
        raise Failed("pictures of another shape")
