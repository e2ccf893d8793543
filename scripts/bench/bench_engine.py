"""Times the engine: steps of `joint` through `Run` against the same steps as a bare loop.

    .venv/bin/python scripts/bench/bench_engine.py --data out/keypad

Both see the same batches from memory, and take turns step by step, so that whatever else the
machine does falls on both. What `Run` does beside the step is in its time: ledger, meter, looking
at the loss. Reading, evaluation and checkpoints are not.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from mmtrain.config.run import TrainConfig, ViewConfig
from mmtrain.data import SampleOrder, ShardedDataset, open_dataset
from mmtrain.data.stream import StreamState
from mmtrain.methods.base import Method
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.training.device import device_of
from mmtrain.training.feed import Feed, Reading
from mmtrain.training.parts import feed_of, fitted, model_of
from mmtrain.training.run import Run
from mmtrain.types import Batch


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
            between = now()
            self._loop(reading.batch)
            self.times.append((between - begin, now() - between))

    def over(self, ids: NDArray[np.int64]) -> Iterator[Batch]:
        """One pass over ``ids``."""
        return self._feed.over(ids)


class Bare:
    """The loop that anybody would write."""

    def __init__(self, model: MultimodalModel, config: TrainConfig) -> None:
        self.device = device_of(config.device)
        self.model, o = model.to(self.device), config.optimizer
        self.optimizer = torch.optim.SGD(
            model.parameters(), o.lr, o.momentum, weight_decay=o.weight_decay
        )
        self._half = config.precision == "bf16"

    def __call__(self, batch: Batch) -> None:
        """One step."""
        here = batch.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
            loss = F.cross_entropy(self.model(here).fused, here.target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def now() -> float:
    """Seconds, with the GPU done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(config: TrainConfig, steps: int) -> dict[str, object]:
    """Alternates step by step, and compares the pairs; the first epoch warms up."""
    with open_dataset(config.data) as dataset, tempfile.TemporaryDirectory() as folder:
        config = fitted(config, dataset)
        feed = feed_of(config, dataset, Method())
        canned = Canned(feed, steps, Bare(model_of(config, feed), config))
        model = model_of(config, feed)
        with Run(config, model, Method(), canned, Path(folder)) as run:  # type: ignore[arg-type]
            run.method.fit(run)
    times = canned.times[steps:]
    ratios = [ours / theirs for ours, theirs in times]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "device": str(run.device),
        "threads": torch.get_num_threads(),
        "batch_size": config.batch_size,
        "pairs": len(times),
        "engine_ms": round(1e3 * statistics.median(ours for ours, _ in times), 2),
        "bare_ms": round(1e3 * statistics.median(theirs for _, theirs in times), 2),
        "ratio": round(statistics.median(ratios), 4),
        "quartiles": [round(low, 4), round(high, 4)],
    }


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="out/keypad")
    parser.add_argument("--encoder", default="small-cnn")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    config = TrainConfig(
        data=given.data,
        encoder=given.encoder,
        batch_size=given.batch_size,
        device=given.device,
        precision=given.precision,
        epochs=given.epochs,
        view=ViewConfig(frames=1, size=given.size),
    )
    print(json.dumps(measure(config, given.steps)))


if __name__ == "__main__":
    main()
