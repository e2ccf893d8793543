"""Times the engine: steps of a method through `Run` against the same steps as a bare loop.

    .venv/bin/python scripts/bench/bench_engine.py --data out/keypad

Batch, pictures and encoder are those of a recipe, by default the one of `scripts/quickstart`. Both
loops see the same batches from memory, and take turns step by step, so that whatever else the
machine does falls on both; on the CPU their time is processor time. What `train` does beside the
step is in the engine's time: ledger, meter, progress.json, looking at the loss, deterministic
algorithms. Reading, evaluation and checkpoints are not.

Last comes the processor time from the call of `train` to the end of the first step, over an index
in which the samples of the train split stand again and again; imports and the first open apart.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mmtrain.config.request import Request
from mmtrain.config.run import TrainConfig
from mmtrain.data import SampleOrder, ShardedDataset, open_dataset
from mmtrain.data.stream import StreamState
from mmtrain.methods.ogm import OGM
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.training import train as training
from mmtrain.training.device import device_of
from mmtrain.training.feed import Feed, Reading
from mmtrain.training.observers import observed
from mmtrain.training.parts import feed_of, fitted, method_of, model_of, shards_of
from mmtrain.training.run import Run
from mmtrain.training.train import RESULT, compute_reproducibly
from mmtrain.training.watch import Quiet
from mmtrain.types import Batch, Outputs


class Canned:
    """A feed whose batches are in memory, and which times what is done with each.

    The engine works at a batch from when it gets it until it asks for the next; the bare loop has
    its turn then. `times` has the seconds of both for every step.
    """

    def __init__(self, feed: Feed, steps: int, loop: Callable[[Batch], None]) -> None:
        feed.begin(feed.curriculum.visits(feed.ids, 0, 0), 0)
        self._feed, self._loop, self._batches = feed, loop, list(islice(feed, steps))
        self.steps, self.position = steps, 0
        self.ids, self.curriculum = feed.ids, feed.curriculum
        self.visits = sum(len(reading.batch) for reading in self._batches)
        self.skips_damaged = False
        self.read_bytes = 0
        self.times: list[tuple[float, float]] = []

    @property
    def dataset(self) -> ShardedDataset:
        """Where the batches came from."""
        return self._feed.dataset

    def begin(self, order: SampleOrder, epoch: int, saved: StreamState | None = None) -> None:
        """Starts over."""
        self.position = 0

    def state(self) -> StreamState:
        """Of no use to anybody."""
        return self._feed.state()

    def account(self) -> dict[str, float]:
        """Nothing was read."""
        return {}

    def __iter__(self) -> Iterator[Reading]:
        for reading in self._batches:
            begin = now()
            yield reading
            engine = now() - begin
            with as_torch_is_by_default():
                begin = now()
                self._loop(reading.batch)
                self.times.append((engine, now() - begin))

    def over(self, ids: NDArray[np.int64]) -> Iterator[Batch]:
        """One pass over ``ids``."""
        return self._feed.over(ids)


@contextmanager
def as_torch_is_by_default() -> Iterator[None]:
    """Lets torch choose any algorithm, as it does where nobody asks for deterministic ones."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def edit_nothing(model: MultimodalModel, out: Outputs, target: Tensor) -> None:
    """Leaves the gradients of joint training alone."""


def edit_as_ogm(model: MultimodalModel, out: Outputs, target: Tensor) -> None:
    """Scales the gradients of the encoders, by the equations of `mmtrain.methods.ogm`."""
    with torch.no_grad():
        scores = [z.softmax(1)[torch.arange(len(z)), target].sum() for z in out.logits.values()]
        for m, own in enumerate(scores):
            others = [own / other for n, other in enumerate(scores) if n != m]
            rho = torch.stack(others).mean()
            k = torch.where(rho > 1, 1 - OGM.alpha * (rho - 1).tanh(), 1.0)
            for parameter in model.encoders[model.modalities[m]].parameters():
                assert parameter.grad is not None
                parameter.grad.mul_(k)


# Method to what the bare loop does between backward and update.
EDITS: Mapping[str, Callable[[MultimodalModel, Outputs, Tensor], None]] = {
    "joint": edit_nothing,
    "ogm": edit_as_ogm,
}


class Bare:
    """The loop that anybody would write."""

    def __init__(self, model: MultimodalModel, config: TrainConfig) -> None:
        self.device = device_of(config.device)
        self.model, o = model.to(self.device), config.optimizer
        self.optimizer = torch.optim.SGD(
            model.parameters(), o.lr, o.momentum, weight_decay=o.weight_decay
        )
        self._half, self._edit = config.precision == "bf16", EDITS[config.method]

    def __call__(self, batch: Batch) -> None:
        """One step."""
        here = batch.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
            out = self.model(here)
            loss = F.cross_entropy(out.fused, here.target)
        self.optimizer.zero_grad()
        loss.backward()
        self._edit(self.model, out, here.target)
        self.optimizer.step()


def now() -> float:
    """Seconds: of processor time, or by the clock with the GPU done."""
    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def measure(config: TrainConfig, steps: int) -> dict[str, object]:
    """Alternates step by step, and compares the pairs; the first epoch warms up."""
    with open_dataset(config.data) as dataset, tempfile.TemporaryDirectory() as folder:
        config = fitted(config, dataset)
        method, result = method_of(config), Path(folder) / RESULT
        feed = feed_of(config, dataset, method)
        canned: Any = Canned(feed, steps, Bare(model_of(config, feed), config))
        with (
            compute_reproducibly(config),
            observed(config, result, None) as watch,
            Run(config, model_of(config, feed), method, canned, result.parent, watch) as run,
        ):
            run.method.fit(run)
    times = canned.times[steps:]
    ratios = [ours / theirs for ours, theirs in times]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "method": config.method,
        "device": str(run.device),
        "threads": torch.get_num_threads(),
        "batch_size": config.batch_size,
        "pairs": len(times),
        "engine_ms": round(1e3 * statistics.median(ours for ours, _ in times), 2),
        "bare_ms": round(1e3 * statistics.median(theirs for _, theirs in times), 2),
        "ratio": round(statistics.median(ratios), 4),
        "quartiles": [round(low, 4), round(high, 4)],
    }


class _FirstStep(BaseException):
    """The first step is done."""


class _UntilFirstStep(Quiet):
    """A watch that ends the run behind its first step."""

    def step(self, *progress: object) -> None:
        raise _FirstStep


def repeat_samples(dataset: ShardedDataset, rows: int) -> None:
    """Makes ``rows`` samples of a data set's train split, by repeating them in its open index."""
    index, description = dataset.index, dataset.description
    train = dataset.ids("train")
    others = np.setdiff1d(np.arange(len(index.label)), train)
    repeated = np.concatenate([np.sort(np.resize(train, rows)), others])
    for column in ("counts", "first", "key", "label", "shard", "split", "start"):
        object.__setattr__(index, column, np.asarray(getattr(index, column))[repeated])
    splits = {**description.splits, "train": replace(description.splits["train"], samples=rows)}
    dataset.description = replace(description, splits=splits)


def start(config: TrainConfig, rows: int) -> dict[str, object]:
    """Seconds of processor time before a run over ``rows`` samples has done its first step."""
    seconds = []
    for _ in range(3):  # The first one imports modules.
        dataset = shards_of(config)
        repeat_samples(dataset, rows)
        with (
            tempfile.TemporaryDirectory() as folder,
            patch.object(training, "shards_of", return_value=dataset),
            suppress(_FirstStep),
        ):
            before = time.process_time()
            training.train(config, Path(folder) / "run", watch=_UntilFirstStep())
        seconds.append(time.process_time() - before)
    return {"method": config.method, "rows": rows, "start_s": round(min(seconds), 3)}


def main() -> None:
    """Prints one JSON object a method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="out/keypad")
    parser.add_argument("--recipe", default="keypad")
    parser.add_argument("--methods", default=",".join(EDITS))
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE, as of mmtrain train")
    parser.add_argument("--steps", type=int, default=50, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the index at the start")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for method in given.methods.split(","):
        options = {"data": given.data, "method": method, "device": given.device}
        options["epochs"] = given.epochs
        request = Request(options=options, recipe=given.recipe, settings=given.set)
        print(json.dumps(measure(request.config(), given.steps)), flush=True)
    print(json.dumps(start(request.config(), given.rows)))


if __name__ == "__main__":
    main()
