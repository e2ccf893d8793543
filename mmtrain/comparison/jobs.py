"""Runs in several processes of one machine, each of which takes one run after the other.

Each run keeps all of its state in its folder, so that anything may be killed and the same command
goes on. Cores are shared between the processes, and GPUs are dealt out in turn.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import torch

from mmtrain import plugins
from mmtrain.config.run import TrainConfig
from mmtrain.errors import Interrupted, MmtrainError
from mmtrain.training.train import RESULT, train

log = logging.getLogger(__name__)

# Seconds between two looks at whether all is done.
_LOOK_S: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run.

    Attributes:
        config: Its config.
        folder: Its folder.
    """

    config: TrainConfig
    folder: Path


def run_jobs(jobs: Sequence[Job], at_once: int) -> dict[Path, str]:
    """Trains or resumes runs, and leaves out those that are finished.

    Args:
        jobs: The runs.
        at_once: Number of processes, at least 1.

    Returns:
        Folder of each run that failed to its error.

    Raises:
        Interrupted: A signal asked to stop; all processes have ended.
    """
    left = [job for job in jobs if not (job.folder / RESULT).exists()]
    waiting: SimpleQueue[Job] = SimpleQueue()
    for job in left:
        waiting.put(job)
    workers = [_Worker(number, at_once) for number in range(min(at_once, len(left)))]
    failed: dict[Path, str] = {}
    with _stopping(workers), ThreadPoolExecutor(max(1, len(workers))) as threads:
        ends = [threads.submit(_work_off, worker, waiting, failed, len(left)) for worker in workers]
        while wait(ends, _LOOK_S).not_done:
            continue  # Signals are handled between two waits.
        for end in ends:
            end.result()
    if any(worker.stopped for worker in workers):
        raise Interrupted("Stopped. The same command goes on from here")
    return failed


def _work_off(
    worker: "_Worker", waiting: "SimpleQueue[Job]", failed: dict[Path, str], count: int
) -> None:
    """Gives a worker one run after the other until none is left."""
    try:
        while not worker.stopped:
            try:
                job = waiting.get_nowait()
            except Empty:
                break
            error = worker.run(job)
            if worker.stopped:
                break
            how = "done" if error is None else f"failed: {error}"
            log.info("%s %s, %d of %d not begun", job.folder, how, waiting.qsize(), count)
            if error is not None:
                failed[job.folder] = error
    finally:
        worker.close()


class _Worker:
    """A process that trains; a new one is started where it has died.

    Args:
        number: Its place among the workers, which decides its GPU.
        at_once: Number of workers.
    """

    def __init__(self, number: int, at_once: int) -> None:
        self._threads = max(1, (os.cpu_count() or 1) // at_once)
        self._environment = {**os.environ, "OMP_NUM_THREADS": str(self._threads)}
        devices = torch.cuda.device_count()
        if devices > 1:
            self._environment["CUDA_VISIBLE_DEVICES"] = str(number % devices)
        self._process: subprocess.Popen[str] | None = None
        self.stopped = False

    def run(self, job: Job) -> str | None:
        """Trains one run to its end; the error if it failed."""
        config = job.config
        if config.workers is None:
            config = replace(config, workers=self._threads)
        process = self._started()
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
            if process.returncode < 0:
                return (
                    f"its process was killed by signal {-process.returncode}, as where memory is "
                    "short; the same command tries it again"
                )
            return f"its process ended with {process.returncode}; see above"
        error: str | None = json.loads(answer)
        return error

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
                [sys.executable, "-m", "mmtrain.comparison.jobs"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=self._environment,
                # A Ctrl-C of the terminal reaches this process alone, which asks the others.
                start_new_session=True,
            )
        return self._process


@contextmanager
def _stopping(workers: Sequence[_Worker]) -> Iterator[None]:
    """Asks all workers to stop when a signal asks this process to."""

    def stop(*_: object) -> None:
        for worker in workers:
            worker.stop()

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _main() -> None:
    """Trains the runs that stdin names, a line each, and answers with the error or null."""
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
            error = _train(plan["config"], Path(plan["folder"]))
        except Interrupted:
            return
        answers.write(f"{json.dumps(error)}\n")
        answers.flush()


def _listen(plans: "SimpleQueue[str]") -> None:
    """Passes plans on; asks this process to stop when the one that gives them has gone."""
    for line in sys.stdin:
        plans.put(line)
    os.kill(os.getpid(), signal.SIGTERM)


def _train(config: Mapping[str, Any], folder: Path) -> str | None:
    """Trains one run to its end; the error if it failed."""
    try:
        # Whoever gave the plan has consented to what it names.
        with plugins.allowing():
            given = TrainConfig.from_json(json.dumps(config), str(folder))
            train(given, folder, resume=True)
    except Interrupted:
        raise
    except MmtrainError as error:
        return str(error)
    except Exception as error:  # A method that breaks must not cost the others.
        log.error("%s failed", folder, exc_info=True)
        return repr(error)
    return None


if __name__ == "__main__":
    _main()
