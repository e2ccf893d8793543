"""Trials: epochs that do not count, and leave the run as it was."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from mmtrain.config.run import OptimizerConfig, ScheduleConfig
from mmtrain.errors import Interrupted
from mmtrain.evaluation.audit import audit
from mmtrain.methods.base import Method, state
from mmtrain.report.runs.read import read_runs
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import BEST, CHECKPOINT
from mmtrain.training.metrics_log import MetricsFile
from mmtrain.training.run import LEDGER, METRICS
from mmtrain.training.train import train
from tests.support.enginework import STEPS, Stop, differing, flat, lines, running, same, small


def config_of(shards, **changes):
    given = {
        "epochs": 3,
        "save_every_steps": 100,
        "optimizer": OptimizerConfig(name="adamw", lr=0.01),
        "schedule": ScheduleConfig(name="cosine"),
        "curriculum": "bss-l",
    }
    return small(shards, **{**given, **changes})


@dataclass(kw_only=True, eq=False)
class Probing(Method):
    """Before each epoch and behind it tries two epochs, which draw, count, and train half.

    Its choice depends on what the trials showed.
    """

    probes: bool = True
    visits: int = state(0)
    losses: list = state(default_factory=list)

    def fit(self, run):
        for _ in run.epochs():
            if self.probes and not run.position:
                self.losses = [*self.losses, self.probed(run)]
            run.train_epoch(self)
            if self.probes:
                self.losses = [*self.losses, self.probed(run)]

    def probed(self, run):
        epoch, visits = run.epoch, self.visits
        with run.trial() as trial:
            run.set_rate(0.5, run.model.encoders["audio"])
            run.model.encoders["visual"].requires_grad_(False)
            run.train_epoch(self)
            assert run.epoch == epoch + 1
            run.train_epoch(self)
            assert self.visits > visits
            assert trial.measured() == run.measured()
            loss = trial.measured("val")["loss"]
            assert trial.train_loss > 0
        assert self.visits == visits
        return loss

    def step(self, run, batch):
        self.visits += len(batch) + int(torch.rand(1, generator=run.generator) < 2)
        torch.rand(1)
        super().step(run, batch)


def straight(shards, folder, probes, *stops):
    """Runs to the end, stopping after each of ``stops``, counted in calls of the watch."""
    for stop in (*stops, None):
        watch = Counting(stop)
        with running(config_of(shards), folder, Probing(probes=probes), watch) as watch.run:
            try:
                watch.run.method.fit(watch.run)
            except Interrupted:
                continue
    return watch


class Counting:
    """Asks a run to stop at its n-th step in this process, trials included."""

    def __init__(self, stop):
        self.run, self.stop, self.steps, self.epochs = None, stop, 0, 0

    def step(self, epoch, step, steps, said):
        self.steps += 1
        self.run.stopping = self.steps == self.stop

    def epoch(self, line):
        assert "trial" not in line
        self.epochs += 1


@pytest.fixture(scope="module")
def probed(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("probed")
    watch = straight(shards, folder, True)
    assert (watch.steps, watch.epochs) == (3 * STEPS + 6 * 2 * STEPS, 3)
    return folder


def test_trials_leave_no_trace_in_weights_optimizer_and_generators(shards, tmp_path, probed):
    straight(shards, tmp_path, False)

    for file in (CHECKPOINT, BEST):
        mine, theirs = (flat(checkpoint.load(f / file)) for f in (probed, tmp_path))
        assert not differing(mine, theirs, "/method/losses", "/lines", "/tried")
    counted = [line for line in lines(probed) if "trial" not in line]
    assert counted == lines(tmp_path)
    for path in (tmp_path / LEDGER).glob("*.npy"):
        assert np.array_equal(np.load(path), np.load(probed / LEDGER / path.name))


def test_lines_of_trials_are_marked_and_count_nowhere(probed):
    written = lines(probed)

    # Before and behind each of three epochs, two epochs of trial each.
    order = [line.get("trial", "epoch") for line in written]
    assert order == [1, 2, 3, 4, "epoch", 5, 6, 7, 8, "epoch", 9, 10, 11, 12, "epoch"]
    tried = [line["epoch"] for line in written if "trial" in line]
    assert tried == [0, 1, 0, 1, 1, 2, 1, 2, 2, 3, 2, 3]
    assert len(MetricsFile(probed / METRICS).read()) == 3
    (record,) = read_runs([probed])
    assert [epoch.epoch for epoch in record.epochs] == [0, 1, 2]
    verdict = audit(probed)
    assert not verdict.wrong
    assert len(verdict.epochs) == 3
    files = sorted((probed / LEDGER / "trial").iterdir())
    assert len(files) == 12
    assert all(len(np.load(path)) == 18 for path in files)


# In a trial before the first checkpoint, between two checkpoints, and in an epoch behind a trial.
@pytest.mark.parametrize("stops", [(3,), (7 * STEPS + 2,), (2 * STEPS + 2, 3 * STEPS + 1)])
def test_a_run_that_stops_in_a_trial_or_behind_it_is_the_straight_run(
    shards, tmp_path, probed, stops
):
    straight(shards, tmp_path, True, *stops)

    assert same(probed, tmp_path)


def test_an_epoch_of_a_trial_is_no_candidate_for_the_best(shards, tmp_path):
    @dataclass(kw_only=True, eq=False)
    class Worsening(Method):
        """Learns in trials, and in epochs not at all."""

        def fit(self, run):
            for _ in run.epochs():
                before = run.measured("val")
                with run.trial() as trial:
                    run.set_rate(1.0)
                    run.train_epoch(self)
                    losses.append(trial.measured("val")["loss"])
                assert run.measured("val") == before
                run.set_rate(0.0)
                run.train_epoch(self)

    losses = []
    with running(small(shards), tmp_path, Worsening()) as run:
        untrained = run.evaluate("val")["loss"]
        run.method.fit(run)
        assert all(loss != untrained for loss in losses)
        assert run.best["val"]["loss"] == untrained
        assert run.best["epoch"] == 0


def test_what_makes_no_sense_in_a_trial_is_refused(shards, tmp_path):
    with running(small(shards), tmp_path) as run, run.trial() as trial:
        assert trial.measured() is None
        with pytest.raises(RuntimeError, match="not trained an epoch"):
            _ = trial.train_loss
        for call in (
            lambda: next(run.epochs()),
            lambda: run.trial().__enter__(),
            lambda: run.adopt(run.model.fusion),
            run.save,
        ):
            with pytest.raises(RuntimeError, match="within a trial"):
                call()
    assert not (tmp_path / CHECKPOINT).exists()


def broken(run):
    run.train_epoch(run.method)
    run.save()


def test_an_error_in_a_trial_puts_the_run_back(shards, tmp_path):
    with running(small(shards), tmp_path) as run:
        before = {name: value.clone() for name, value in run.model.state_dict().items()}
        with pytest.raises(RuntimeError, match="within a trial"), run.trial():
            broken(run)
        assert all(torch.equal(v, before[n]) for n, v in run.model.state_dict().items())
        assert (run.epoch, run.steps) == (0, 0)
        run.method.fit(run)
    assert [line["epoch"] for line in lines(tmp_path)] == [0, 0, 1]


def test_a_run_of_before_there_were_trials_goes_on(shards, tmp_path):
    config = config_of(shards, epochs=2)
    stop = Stop(STEPS + 2)
    with running(config, tmp_path, watch=stop) as stop.run, pytest.raises(Interrupted):
        stop.run.method.fit(stop.run)
    saved = checkpoint.load(tmp_path / CHECKPOINT)
    for name in ("rates", "measured", "lines", "tried", "format"):
        del saved[name]
    saved["schedule"] = {n: saved["schedule"][n] for n in ("factor", "best", "waited")}
    checkpoint.save(tmp_path / CHECKPOINT, saved)

    result = train(config, tmp_path, resume=True)

    assert result["epochs"] == 2
    assert json.loads((tmp_path / METRICS).read_text().splitlines()[1])["epoch"] == 1
