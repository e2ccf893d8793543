"""Engine `local`: processes of this machine, each of which takes one run after the other.

Cores are shared between the processes, and GPUs are dealt out in turn.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import torch

from mmtrain import plugins
from mmtrain.comparison.charge import Charge
from mmtrain.comparison.engines import Job, Outcome
from mmtrain.comparison.engines.stopping import STOPPED, on_signals
from mmtrain.comparison.engines.task import train_job
from mmtrain.config.run import TrainConfig
from mmtrain.errors import Interrupted

# Seconds between two looks at whether all is done.
_LOOK_S: Final = 0.2
# Variables of the environment: GPUs, by number or name, and threads of torch.
_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
_THREADS: Final = "OMP_NUM_THREADS"


def run(jobs: Sequence[Job], *, charge: Charge, at_once: int | None) -> Iterator[Outcome]:
    """Carries out ``jobs`` (see `mmtrain.comparison.engines.Engine`), one at a time by default."""
    at_once = min(at_once or 1, len(jobs))
    waiting: SimpleQueue[Job] = SimpleQueue()
    ended: SimpleQueue[Outcome] = SimpleQueue()
    for job in jobs:
        waiting.put(job)
    workers = [_Worker(number, at_once) for number in range(at_once)]

    def stop() -> None:
        for worker in workers:
            worker.stop()

    with on_signals(stop), ThreadPoolExecutor(max(1, at_once)) as threads:
        ends = [threads.submit(_work_off, worker, waiting, ended) for worker in workers]
        try:
            while not all(end.done() for end in ends) or not ended.empty():
                # Signals are handled between two waits.
                with suppress(Empty):
                    yield ended.get(timeout=_LOOK_S)
            for end in ends:
                end.result()
        except BaseException:
            stop()
            raise
    if any(worker.stopped for worker in workers):
        raise Interrupted(STOPPED)


def _work_off(
    worker: "_Worker", waiting: "SimpleQueue[Job]", ended: "SimpleQueue[Outcome]"
) -> None:
    """Gives a worker one run after the other until none is left."""
    try:
        while not worker.stopped:
            try:
                job = waiting.get_nowait()
            except Empty:
                break
            outcome = worker.run(job)
            if not worker.stopped:
                ended.put(outcome)
    finally:
        worker.close()


class _Worker:
    """A process that trains; a new one is started where it has died.

    Args:
        number: Its place among the workers, which decides its GPU.
        at_once: Number of workers.
    """

    def __init__(self, number: int, at_once: int) -> None:
        self._own = resources_of(number, at_once)
        self._process: subprocess.Popen[str] | None = None
        self.stopped = False

    def run(self, job: Job) -> Outcome:
        """Trains one run to its end."""
        config = job.config
        if config.workers is None:
            config = replace(config, workers=int(self._own[_THREADS]))
        process = self._started()
        if self.stopped:
            process.terminate()  # The request came before there was a process to ask.
        plan = json.dumps({"config": asdict(config), "folder": str(job.folder)})
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{plan}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.close()
            how = f"its process ended with {process.returncode}; see above"
            if process.returncode < 0:
                how = (
                    f"its process was killed by signal {-process.returncode}, as where memory is "
                    "short; the same command tries it again"
                )
            return Outcome(job, how, lost=True)
        error, lost = json.loads(answer)
        return Outcome(job, error, lost)

    def stop(self) -> None:
        """Asks the process to end its step, and to leave what the next command continues."""
        self.stopped = True
        if self._process is not None:
            self._process.terminate()

    def close(self) -> None:
        """Ends the process, which has nothing to do any more."""
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()
            self._process.wait()
            self._process = None

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **self._own},
                # A Ctrl-C of the terminal reaches this process alone, which asks the others.
                start_new_session=True,
            )
        return self._process


def resources_of(number: int, at_once: int) -> dict[str, str]:
    """Variables that give one of several processes its share of the cores, and a GPU in turn.

    Args:
        number: Place of the process among them, from 0.
        at_once: Number of processes.
    """
    own = {_THREADS: str(max(1, (os.cpu_count() or 1) // at_once))}
    devices = _devices()
    return own | {_VISIBLE: devices[number % len(devices)]} if len(devices) > 1 else own


def _devices() -> list[str]:
    """Names of the GPUs that this process may use, as its children's environment takes them."""
    count = torch.cuda.device_count()
    names = [name.strip() for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
    return names[:count] or [str(number) for number in range(count)]


def _main() -> None:
    """Trains the runs that stdin names, a line each, and answers with `Outcome`'s other values."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    # Answers alone go to stdout; what a method prints does not.
    answers, sys.stdout = sys.stdout, sys.stderr
    # Between two runs there is nothing to finish.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    plans: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(plans,), daemon=True).start()
    while True:
        plan = json.loads(plans.get())
        try:
            _, error, lost = _train(plan["config"], Path(plan["folder"]))
        except Interrupted:
            return
        answers.write(f"{json.dumps([error, lost])}\n")
        answers.flush()


def _listen(plans: "SimpleQueue[str]") -> None:
    """Passes plans on; asks this process to stop when the one that gives them has gone."""
    for line in sys.stdin:
        plans.put(line)
    os.kill(os.getpid(), signal.SIGTERM)


def _train(config: Mapping[str, Any], folder: Path) -> Outcome:
    """Trains one run to its end."""
    # Whoever gave the plan has consented to what it names.
    with plugins.allowing():
        given = TrainConfig.from_json(json.dumps(config), str(folder))
    return train_job(Job(config=given, folder=folder))


if __name__ == "__main__":
    _main()
