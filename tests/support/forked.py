"""Processes that begin with what trains already imported, for they are forked from one that has.

A new process imports for some four seconds before its first step. Here a server does so once, when
the first process is wanted, and each is a fork of it: with memory, signals and an exit code of its
own, and without anything of the tests. Only what is asked about imports needs a new process.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import torch

from tests.support import ROOT

# There is one such server in a process of tests: what its children need is all named here.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *("mmtrain.cli.train", "mmtrain.training.train", "torchdata.stateful_dataloader"),
        "torch._dynamo",  # Imported by every optimizer.
    ]
)
_STREAMS = {1: "stdout", 2: "stderr"}


@dataclass(frozen=True, kw_only=True)
class Started:
    """A process that has been started."""

    process: Any
    folder: tempfile.TemporaryDirectory

    def wait(self) -> "CompletedProcess[str]":
        """Exit code, and texts of both streams, once it has ended."""
        self.process.join()
        with self.folder as folder:
            texts = {name: Path(folder, name).read_text() for name in _STREAMS.values()}
        return CompletedProcess((), self.process.exitcode, **texts)


def start(
    function: Callable[..., object], *given: object, environment: Mapping[str, str] | None = None
) -> Started:
    """Starts a process that calls ``function`` and ends.

    Args:
        function: Work of the process, a function of a module; what it raises gives exit code 1.
        given: Arguments of the function.
        environment: Variables of the process; None for those of this one.
    """
    folder = tempfile.TemporaryDirectory()
    for name in _STREAMS.values():
        Path(folder.name, name).touch()
    work = (folder.name, dict(os.environ if environment is None else environment), function, given)
    process = SERVER.Process(target=_work, args=work)
    process.start()
    return Started(process=process, folder=folder)


def call(function: Callable[..., object], *given: object) -> str:
    """Calls ``function`` in such a process, which must end well; returns what it printed."""
    done = start(function, *given).wait()
    assert not done.returncode, done.stderr
    return done.stdout


def run_module(name: str, *words: object) -> "CompletedProcess[str]":
    """Runs ``python -m NAME WORDS`` in such a process."""
    return start(_run_module, name, list(map(str, words))).wait()


def _run_module(name: str, words: list[str]) -> None:
    sys.argv = [name, *words]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _work(
    folder: str, environment: dict[str, str], function: Callable[..., object], given: Any
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    for number, name in _STREAMS.items():
        stream = os.open(Path(folder, name), os.O_WRONLY)
        os.dup2(stream, number)
        os.close(stream)
    torch.set_num_threads(1)
    function(*given)
