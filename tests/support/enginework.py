"""Small runs, what ends them early, and what must be equal of two of them."""

import json
import os
import signal
from contextlib import contextmanager
from itertools import count

import numpy as np
import torch
from torch.nn import functional as F

from mmtrain.config.run import OptimizerConfig, TrainConfig, ViewConfig
from mmtrain.data import open_dataset
from mmtrain.methods.base import Method
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import BEST, CHECKPOINT
from mmtrain.training.parts import feed_of, fitted, model_of
from mmtrain.training.run import LEDGER, METRICS, Run
from mmtrain.training.train import RESULT

STEPS = 5  # of an epoch: 18 samples, 4 a batch
TIMES = ("seconds", "samples_per_s", "scoring_seconds", "data_wait", "system")


def small(shards, **changes):
    """A run of two short epochs."""
    given = {
        "encoder": "small-cnn",
        "epochs": 2,
        "batch_size": 4,
        "device": "cpu",
        "workers": 1,
        "view": ViewConfig(frames=1, size=32),
        "optimizer": OptimizerConfig(lr=0.05),
        "settings": {"encoder": {"width": 64}},
    }
    return TrainConfig(data=str(shards), **{**given, **changes})


@contextmanager
def running(config, folder, method=None, watch=None):
    """A run of ``method``, which need not be in the catalog."""
    folder.mkdir(parents=True, exist_ok=True)
    with open_dataset(config.data) as dataset:
        config = fitted(config, dataset)
        (folder / "config.json").write_text(config.to_json())
        method = method or Method()
        feed = feed_of(config, dataset, method)
        with Run(config, model_of(config, feed), method, feed, folder, watch) as run:
            yield run


class Stop:
    """Asks a run to stop after each of some steps, counted from the first epoch."""

    def __init__(self, *steps):
        self.run, self.steps = None, steps

    def step(self, epoch, step, steps, said):
        self.run.stopping = self.run.stopping or self.run.steps + 1 in self.steps

    def epoch(self, line): ...


class Kill:
    """Kills its process at the first step."""

    def step(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)

    def epoch(self, line): ...


def die_before(moment):
    """Kills this process before its ``moment``-th call of `os.fsync`."""
    sync, calls = os.fsync, count(1)

    def fsync(descriptor):
        if next(calls) == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    os.fsync = fsync


def lines(folder):
    """Metrics, without what the clock says."""
    read = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read]


def flat(value, name=""):
    """Every leaf of a checkpoint, by its path."""
    if isinstance(value, dict):
        return {k: v for key, each in value.items() for k, v in flat(each, f"{name}/{key}").items()}
    return {name: value}


def differing(mine, theirs, *apart):
    """Names of the leaves of ``theirs`` that are not the same in ``mine``, bit for bit.

    Seconds, and names that begin as one of ``apart``, are left out.
    """

    def equal(one, other):
        tensors = isinstance(one, torch.Tensor)
        return torch.equal(one, other) if tensors else str(one) == str(other)

    # The checker of types draws from `random`, as often as functions are called.
    left_out = ("/meter", "/generators/random", *apart)
    names = [name for name in theirs if not name.startswith(left_out)]
    return [name for name in names if name not in mine or not equal(theirs[name], mine[name])]


def same(one, other):
    """Whether two runs ended alike, bit for bit."""
    for file in (CHECKPOINT, BEST):
        mine, theirs = (flat(checkpoint.load(folder / file)) for folder in (one, other))
        assert list(mine) == list(theirs)
        assert not differing(mine, theirs)
    assert lines(one) == lines(other)
    ledgers = [sorted((folder / LEDGER).rglob("*.npy")) for folder in (one, other)]
    for mine, theirs in zip(*ledgers, strict=True):
        assert mine.relative_to(one) == theirs.relative_to(other)
        assert np.array_equal(np.load(mine), np.load(theirs)), mine.name
    if (one / RESULT).exists():
        results = [json.loads((folder / RESULT).read_text()) for folder in (one, other)]
        assert results[0]["test"] == results[1]["test"]
        assert results[0]["best_epoch"] == results[1]["best_epoch"]
    return True


def first(run, split="train"):
    """The first batch of a split."""
    return next(run.batches(split))


def loss_of(run, batch):
    """Loss of joint training on a batch."""
    return F.cross_entropy(run.model(batch).fused, batch.target)


def snapshot(run):
    """A copy of the weights."""
    return {name: value.clone() for name, value in run.model.state_dict().items()}
