"""Estimate of what a run takes, from its index and a few measured steps; leaves no files."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from mmtrain.config.run import TrainConfig
from mmtrain.curricula.base import Curriculum
from mmtrain.data import SampleOrder, ShardedDataset
from mmtrain.data.order import steps
from mmtrain.data.reading.volume import mean_bytes
from mmtrain.methods.base import IDs
from mmtrain.training.accumulation import take_pieces
from mmtrain.training.device import finish, peak_bytes, set_up
from mmtrain.training.parts import feed_of, fitted, method_of, model_of, shards_of
from mmtrain.training.passes import Scored
from mmtrain.training.ranks import ALONE
from mmtrain.training.run import Run
from mmtrain.training.train import compute_reproducibly, explain_lack_of_memory
from mmtrain.types import Batch

# Steps before the clock counts: the first ones choose algorithms and fill caches.
_WARM_UP: Final = 2
# More than a stream makes ahead, so that a slow disk shows.
_STEPS: Final = 8
# Seconds after which fewer steps will do.
_ENOUGH_S: Final = 10.0
# Batches that stand for a whole pass.
_PASS_BATCHES: Final = 3
# Epochs whose orders are looked at, for a curriculum may show a share that grows.
_EPOCHS: Final = 10


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Cost of a run, on this machine and in one process.

    Attributes:
        parameters: Number of parameters of the model, with those that its method adds.
        steps_an_epoch: Number of steps, over the epochs on average.
        seconds_an_epoch: Seconds of training, of the passes that score samples and of that over
            val.
        bytes_an_epoch: Bytes of the shards that training, these passes and val read, by the index.
        memory_bytes: Most memory of this process: of tensors on a GPU, of everything on a CPU.
    """

    parameters: int
    steps_an_epoch: int
    seconds_an_epoch: float
    bytes_an_epoch: int
    memory_bytes: int


def estimate(config: TrainConfig) -> Estimate:
    """Measures a few steps of a run in a folder that is thrown away.

    What a method does outside of its steps counts as often as the first epoch does it. Nothing is
    extrapolated to other machines, nor to several ranks.

    Raises:
        ConfigError: The request does not fit the data.
        RunError: Memory is short.
    """
    with (
        shards_of(config) as dataset,
        tempfile.TemporaryDirectory() as aside,
        compute_reproducibly(config),
        explain_lack_of_memory(config),
    ):
        config = fitted(config, dataset)
        device = set_up(config.device)
        method = method_of(config)
        feed = feed_of(config, dataset, method)
        clock = _Clock(device)
        model = model_of(config, feed)
        take_pieces(config, method, model, ALONE)
        with _SampledRun(config, model, method, feed, Path(aside), clock) as run:
            with suppress(_EnoughSteps):
                method.fit(run)
            orders = _orders(run.curriculum, run, config)
            scored = run.scored / _epochs_between(run.curriculum, config)
            seconds_of_val = run.seconds_of_val()
            mean_steps = float(np.mean([steps(len(each), config.step_size) for each in orders]))
            return Estimate(
                parameters=sum(p.numel() for p in run.model.parameters()),
                steps_an_epoch=round(mean_steps),
                seconds_an_epoch=mean_steps * clock.seconds_a_step
                + run.seconds_a_scored * scored
                + seconds_of_val,
                bytes_an_epoch=round(_bytes_an_epoch(config, dataset, orders, scored)),
                memory_bytes=peak_bytes(device),
            )


class _EnoughSteps(Exception):
    """Ends a run that has been measured."""


class _Clock:
    """Watch that ends a run after a few steps, or the first epoch."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._times = [time.monotonic()]

    def step(self, epoch: int, step: int, steps: int, measures: Mapping[str, Any], /) -> None:
        finish(self._device)
        self._times.append(time.monotonic())
        # The first of these is the end of the warm-up.
        measured = self._times[_WARM_UP:]
        long = len(measured) > 1 and measured[-1] - measured[0] >= _ENOUGH_S
        if long or len(measured) > _STEPS:
            raise _EnoughSteps

    def epoch(self, line: Mapping[str, Any], /) -> None:
        raise _EnoughSteps

    @property
    def seconds_a_step(self) -> float:
        """Mean over the steps behind the first ones; over all where there are no others."""
        first = min(_WARM_UP, max(len(self._times) - 2, 0))
        count = len(self._times) - 1 - first
        return (self._times[-1] - self._times[first]) / max(count, 1)


class _SampledRun(Run):
    """A run whose passes look at a few batches, which stand for all.

    Attributes:
        scored: Samples of the passes, as if they were whole.
        seconds_a_scored: Seconds for each of them, over all passes so far.
    """

    scored = 0
    _looked_at, _looking_s = 0, 0.0

    @property
    def seconds_a_scored(self) -> float:
        return self._looking_s / max(self._looked_at, 1)

    def score(
        self, fn: Callable[[Batch], Scored], split: str = "train", ids: IDs | None = None
    ) -> Any:
        own = self.feed.dataset.ids(split)
        if ids is not None:
            own = np.asarray(torch.as_tensor(ids).cpu())
        few = own[: _PASS_BATCHES * self.config.batch_size]
        before = time.monotonic()
        values = super().score(fn, split, few)
        self._looking_s += time.monotonic() - before
        self._looked_at += len(few)
        self.scored += len(own)
        rows = torch.arange(len(own)) % len(few)
        if isinstance(values, Tensor):
            return values[rows.to(values.device)]
        return {name: column[rows.to(column.device)] for name, column in values.items()}

    def evaluate(self, split: str) -> dict[str, Any]:
        """Leaves out the measures of a split, whose seconds `seconds_of_val` has."""
        raise _EnoughSteps

    def seconds_of_val(self) -> float:
        """Seconds of a pass over val, of which a few batches are taken; 0 where there is none."""
        if not self.feed.dataset.splits.get("val"):
            return 0.0
        ids = self.feed.dataset.ids("val")
        few = ids[: _PASS_BATCHES * self.config.batch_size]
        before = time.monotonic()
        self.evaluation.score(lambda batch: self.method.predict(self.model, batch).fused, few)
        finish(self.device)
        return (time.monotonic() - before) * len(ids) / len(few)


def _orders(curriculum: Curriculum, run: Run, config: TrainConfig) -> list[SampleOrder]:
    """Orders of epochs that are evenly spread over the run."""
    memory = curriculum.memory
    if memory is not None and memory.score is None:
        # Scores begin after the first epoch; without them the orders would be other ones.
        memory.refresh(memory.start, len(run.ids), lambda: curriculum.measure(run))
    count = min(config.epochs, _EPOCHS)
    epochs = np.linspace(0, config.epochs - 1, count).astype(int).tolist()
    return [curriculum.visits(run.ids, config.seed, epoch) for epoch in epochs]


def _epochs_between(curriculum: Curriculum, config: TrainConfig) -> int:
    """Number of epochs from one pass of the curriculum to the next; 1 where it makes none."""
    if curriculum.memory is None:
        return 1
    return curriculum.memory.every or config.epochs


def _bytes_an_epoch(
    config: TrainConfig, dataset: ShardedDataset, orders: Sequence[SampleOrder], scored: float
) -> float:
    total = 0.0
    train = mean_bytes(dataset, dataset.ids("train"), config.modalities, config.view.frames)
    for name, size in train.items():
        shown = [
            float(order.shown[name].sum()) if name in order.shown else len(order)
            for order in orders
        ]
        total += size * (float(np.mean(shown)) + scored)
    if dataset.splits.get("val"):
        ids = dataset.ids("val")
        val = mean_bytes(dataset, ids, config.modalities, config.view.frames)
        total += len(ids) * sum(val.values())
    return total
