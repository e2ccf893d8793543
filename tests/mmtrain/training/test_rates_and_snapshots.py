"""Rates by module, and snapshots of a run."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from mmtrain.config.run import OptimizerConfig, ScheduleConfig
from mmtrain.methods.base import Method, state
from tests.support.enginework import STEPS, first, lines, loss_of, running, small, snapshot


def test_a_rate_holds_until_it_is_set_anew_and_is_resumed(shards, tmp_path):
    @dataclass(kw_only=True, eq=False)
    class Slowed(Method):
        def setup(self, run):
            run.model.scale = nn.Parameter(torch.ones(()))
            run.adopt(run.model.scale, rate=0.1)
            run.set_rate(0.5, run.model.encoders["audio"])

        def fit(self, run):
            for epoch in run.epochs():
                seen.append((epoch, rates(run)))
                run.train_epoch(self)
                if epoch == 0:
                    run.set_rate(2.0, run.model.encoders["audio"], run.model.scale)

        def loss(self, run, out, batch):
            return super().loss(run, out, batch) * run.model.scale

    def rates(run):
        own = run.rates()
        names = ("encoders.audio.body.0.0.weight", "fusion.head.bias", "scale")
        return [own[name] / run.config.optimizer.lr for name in names]

    schedule = ScheduleConfig(name="step", every=2, gamma=0.1)
    seen, kinds = [], [small(shards, schedule=schedule, epochs=n) for n in (2, 3)]
    for config in kinds:
        with running(config, tmp_path, Slowed()) as run:
            run.method.fit(run)

    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    for (_, own), expected in zip(seen, ([0.5, 1, 0.1], [2, 1, 2], [0.2, 0.1, 0.2]), strict=True):
        assert own == pytest.approx(expected)


def test_a_rate_of_all_and_a_schedule_that_starts_anew(shards, tmp_path):
    schedule = ScheduleConfig(name="step", every=1, gamma=0.1)
    with running(small(shards, schedule=schedule, epochs=3), tmp_path) as run:
        for epoch in run.epochs():
            if epoch == 1:
                run.restart_schedule()
                run.set_rate(0.5)
                assert set(run.rates().values()) == {0.5 * 0.05}
            run.train_epoch(run.method)
    assert [line["lr"] for line in lines(tmp_path)] == pytest.approx([0.05, 0.05, 0.005])


def test_a_snapshot_of_a_module_brings_back_that_module_only(shards, tmp_path):
    with running(small(shards), tmp_path) as run:
        audio = run.model.encoders["audio"]
        run.minimise(loss_of(run, first(run)))
        before, kept = snapshot(run), run.snapshot(audio)
        momentum = {n: s["momentum_buffer"].clone() for n, s in run.optimizer_state().items()}
        run.minimise(loss_of(run, first(run)))
        between = snapshot(run)

        run.restore(kept)

        for name, value in run.model.state_dict().items():
            expected = before if name.startswith("encoders.audio") else between
            assert torch.equal(value, expected[name]), name
        assert any(not torch.equal(v, before[n]) for n, v in between.items())
        state = run.optimizer_state()
        for name in momentum:
            same = torch.equal(state[name]["momentum_buffer"], momentum[name])
            assert same == name.startswith("encoders.audio"), name
        assert {n.split(".")[1] for n in kept["model"]} == {"audio"}
        del run.model.encoders["audio"]
        with pytest.raises(ValueError, match=r"the model has no encoders\.audio"):
            run.restore(kept)


def test_a_snapshot_is_a_state_that_survives_a_checkpoint(shards, tmp_path):
    @dataclass(kw_only=True, eq=False)
    class Keeping(Method):
        kept: dict = state(default_factory=dict)

        def fit(self, run):
            for epoch in run.epochs():
                run.train_epoch(self)
                if epoch == 0:
                    self.kept = run.snapshot()

    adamw = OptimizerConfig(name="adamw", lr=0.01)
    with running(small(shards, optimizer=adamw), tmp_path, Keeping()) as run:
        run.method.fit(run)
        kept = run.method.kept
    with running(small(shards, optimizer=adamw, epochs=3), tmp_path, Keeping()) as run:
        run.restore(run.method.kept)

        assert all(torch.equal(v, kept["model"][n]) for n, v in run.model.state_dict().items())
        steps = {s["step"].item() for s in run.optimizer_state().values()}
        assert steps == {STEPS}
        run.minimise(loss_of(run, first(run)))


def test_a_snapshot_in_setup_is_of_the_initial_weights_also_when_resumed(shards, tmp_path):
    @dataclass(kw_only=True, eq=False)
    class Restarting(Method):
        def setup(self, run):
            initial.append(run.snapshot(run.model.encoders["audio"]))

    initial = []
    with running(small(shards, epochs=1), tmp_path, Restarting()) as run:
        run.method.fit(run)
    with running(small(shards, epochs=2), tmp_path, Restarting()) as run:
        trained = snapshot(run)
        run.restore(initial[1])
        after = run.model.state_dict()
        assert not any(name.startswith("encoders.audio") for name in run.optimizer_state())

    assert all(
        torch.equal(value, initial[0]["model"][n]) for n, value in initial[1]["model"].items()
    )
    assert all(torch.equal(after[n], value) for n, value in initial[0]["model"].items())
    assert any(not torch.equal(trained[n], value) for n, value in initial[0]["model"].items())
