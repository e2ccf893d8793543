"""A run that was killed or stopped, and resumed, is the run that was not."""

import json
import os
import random
import signal
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmtrain.config.run import OptimizerConfig, ScheduleConfig
from mmtrain.errors import ConfigError, DataError, Interrupted
from mmtrain.evaluation.audit import audit
from mmtrain.methods.base import Method, state
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import BEST, CHECKPOINT
from mmtrain.training.run import LEDGER, METRICS
from mmtrain.training.train import train
from mmtrain.types import Outputs
from tests.support.enginework import STEPS, Stop, lines, running, same, small
from tests.support.victim import kill_at


def long(shards, **changes):
    given = {"epochs": 3, "save_every_steps": 2, "schedule": ScheduleConfig(name="cosine")}
    return small(shards, **{**given, **changes})


# Calls before which a child dies. A straight run makes about 60; a checkpoint inside an epoch 3.
MOMENTS = {"joint": (1, 4, 6, 9, 12), "multitask": (2, 10, 13, 14)}


def test_a_run_that_is_killed_again_and_again_is_the_straight_run(shards, tmp_path):
    plans = []
    for method, moments in MOMENTS.items():
        config = long(shards, method=method).to_json()
        plans.append((str(tmp_path / method), config, (*moments, 0)))

    kill_at(plans)

    for method in MOMENTS:
        straight, killed = tmp_path / f"straight-{method}", tmp_path / method
        train(long(shards, method=method), straight)
        assert same(straight, killed)
        assert not audit(killed).wrong
        assert audit(killed).to_json() == audit(straight).to_json()


@dataclass(kw_only=True, eq=False)
class Growing(Method):
    """Remembers, draws from every generator, and grows a head an epoch."""

    strength: float = 0.1
    heads: int = state(0)
    seen: dict = state(default_factory=dict)
    mean: torch.Tensor = state(default_factory=lambda: torch.zeros(3))

    def setup(self, run):
        for i in range(self.heads):
            run.model.heads[f"extra{i}"] = nn.Linear(64, 3)

    def fit(self, run):
        for epoch in run.epochs():
            if not run.position:
                self.seen[str(epoch)] = run.score(lambda b: b.target.float()).mean().item()
            run.train_epoch(self)
            torch.manual_seed(epoch)
            run.model.heads[f"extra{self.heads}"] = nn.Linear(64, 3)
            run.adopt(run.model.heads[f"extra{self.heads}"])
            self.heads += 1

    def step(self, run, batch):
        features = run.model.encode(batch)
        out = run.model.fusion(features)
        loss = F.cross_entropy(out, batch.target)
        for i in range(self.heads):
            said = run.model.heads[f"extra{i}"](features["audio"])
            loss = loss + F.cross_entropy(said, batch.target)
        with run.update(loss):
            self.mean = self.mean.lerp(out.detach().mean(0), 0.1)
            noise = torch.rand(1, generator=run.generator) + torch.rand(1)
            for gradient in run.model.gradients("visual"):
                gradient.mul_(1 + self.strength * noise)

    def predict(self, model, batch):
        features = model.encode(batch)
        fused = model.fusion(features)
        return Outputs(fused=fused, logits=dict.fromkeys(features, fused), features=features)


def stopped_at(steps, config, folder, made=Growing):
    """Runs to the end, stopping after each of ``steps``."""
    stop = Stop(*steps)
    for _ in range(len(steps) + 1):
        with running(config, folder, made(), stop) as stop.run:
            run = stop.run
            try:
                run.method.fit(run)
            except Interrupted:
                continue
            return run.method
    raise AssertionError("did not end")


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_state_generators_and_modules_that_joined_are_resumed(shards, tmp_path, name):
    config = long(
        shards,
        save_every_steps=100,
        optimizer=OptimizerConfig(name=name, lr=0.01, clip=1.0),
        schedule=ScheduleConfig(name="plateau", patience=0),
    )
    straight = stopped_at((), config, tmp_path / "straight")
    resumed = stopped_at((2, STEPS, STEPS + 3, 2 * STEPS + 1), config, tmp_path / "resumed")

    assert same(tmp_path / "straight", tmp_path / "resumed")
    assert torch.equal(straight.mean, resumed.mean)
    assert straight.seen == resumed.seen
    assert resumed.heads == 3


def test_a_resumed_run_drops_what_was_said_behind_the_checkpoint(shards, tmp_path):
    config = long(shards, epochs=2)
    train(config, tmp_path / "straight")
    stop = Stop(3)
    with running(config, tmp_path / "torn", watch=stop) as stop.run, pytest.raises(Interrupted):
        stop.run.method.fit(stop.run)
    (tmp_path / "torn" / METRICS).write_text('{"epoch": 0, "half a li')
    (tmp_path / "torn" / LEDGER / "epoch-00001.rank0.npy").write_bytes(b"later")
    with (tmp_path / "torn" / LEDGER / "epoch-00000.rank0.npy").open("ab") as file:
        file.write(b"12345678more")

    train(config, tmp_path / "torn", resume=True)

    assert same(tmp_path / "straight", tmp_path / "torn")


def test_the_best_weights_are_those_that_the_checkpoint_counts(shards, tmp_path):
    config = long(shards, epochs=1)
    train(config, tmp_path)
    best = (tmp_path / BEST).read_bytes()
    (tmp_path / BEST).unlink()
    (tmp_path / "result.json").unlink()

    train(config, tmp_path, resume=True)

    assert len((tmp_path / BEST).read_bytes()) == len(best)


def test_resuming_a_finished_run_says_its_result_again(shards, tmp_path):
    config = small(shards, epochs=1)
    result = train(config, tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")}

    assert train(config, tmp_path / "run", resume=True) == result
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")} == before


def test_resuming_with_another_config_names_the_differences(shards, tmp_path):
    config = small(shards, epochs=1)
    train(config, tmp_path / "run")
    other = replace(config, seed=1, optimizer=OptimizerConfig(lr=0.2), workers=2)

    with pytest.raises(ConfigError) as caught:
        train(other, tmp_path / "run", resume=True)

    assert "seed 0 -> 1; optimizer.lr 0.05 -> 0.2. Resume it as it was" in str(caught.value)
    assert "workers" not in str(caught.value)


def test_resume_starts_a_run_where_there_is_none(shards, tmp_path):
    assert train(small(shards, epochs=1), tmp_path / "run", resume=True)["epochs"] == 1


def test_a_checkpoint_that_is_damaged_or_of_other_data_is_bad_data(shards, lopsided, tmp_path):
    config = small(shards, epochs=1)
    train(config, tmp_path)
    (tmp_path / "result.json").unlink()
    with pytest.raises(DataError, match="was trained on other data"):
        train(replace(config, data=str(lopsided)), tmp_path, resume=True)
    whole = (tmp_path / CHECKPOINT).read_bytes()
    for damaged in (b"", b"nothing", whole[:-999]):
        (tmp_path / CHECKPOINT).write_bytes(damaged)
        with pytest.raises(DataError, match="not a checkpoint"):
            train(config, tmp_path, resume=True)


def test_one_process_at_a_time(shards, tmp_path):
    class Second:
        def step(self, epoch, step, steps, said):
            with pytest.raises(ConfigError, match="another process is training"):
                train(config, tmp_path / "run", resume=True)

        def epoch(self, line): ...

    config = small(shards, epochs=1)
    train(config, tmp_path / "run", watch=Second())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_stops_after_the_step_and_resuming_goes_on(shards, tmp_path, number):
    class Once:
        def step(self, epoch, step, steps, said):
            if (epoch, step) == (1, 2):
                os.kill(os.getpid(), number)

        def epoch(self, line): ...

    config = small(shards)
    handler = signal.getsignal(number)
    with pytest.raises(Interrupted, match=r"Stopped at epoch 2, step 3 of 5\. .*--resume"):
        train(config, tmp_path / "run", watch=Once())
    assert signal.getsignal(number) is handler
    assert (tmp_path / "run" / CHECKPOINT).exists()
    assert len(lines(tmp_path / "run")) == 1

    train(config, tmp_path / "run", resume=True)
    train(config, tmp_path / "straight")
    assert same(tmp_path / "straight", tmp_path / "run")
    assert json.loads((tmp_path / "run/result.json").read_text())["epochs"] == 2


def test_every_generator_goes_on_where_it_was():
    own = torch.Generator()
    checkpoint.seed_all(3)
    random.gauss()  # Has drawn two, and keeps one.
    saved = checkpoint.generators(own)

    def draws():
        torch_draws = torch.rand(2).tolist(), torch.rand(2, generator=own).tolist()
        return *torch_draws, random.gauss(), random.random(), np.random.rand(2).tolist()

    first = draws()
    checkpoint.restore_generators(saved, own)

    assert draws() == first
