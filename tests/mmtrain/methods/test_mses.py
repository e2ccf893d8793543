from functools import partial

import pytest
import torch

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.methods.base import Method
from mmtrain.methods.mses import MSES, best_epoch, smoothed
from tests.mmtrain.training.test_resume import stopped_at
from tests.support.enginework import STEPS, lines, running, same, small
from tests.support.methodwork import batch_normalised, fitted

SETS = [("audio", "visual"), ("audio", "visual", "flow")]
LOSSES = [1.0, 0.8, 0.9, 1.0, 1.1]
TWO_TAP = [1.0, 0.92, 0.84, 0.94, 1.04]


def scripted(monkeypatch, run, **losses):
    """Lets evaluation measure these losses of modalities, an epoch each."""

    def measured(split="val"):
        if not run.epoch:
            return None
        return {"modalities": {m: {"loss": own[run.epoch - 1]} for m, own in losses.items()}}

    monkeypatch.setattr(run, "measured", measured)


# The filter.


def test_smoothing_by_hand():
    # .6 * 1 + .4 * .8 = .92; .6 * .8 + .4 * .9 = .84; .6 * .9 + .4 * 1 = .94; .6 + .44 = 1.04.
    assert smoothed(LOSSES) == pytest.approx(TWO_TAP)
    # .6 * .92 + .4 * .9 = .912; .5472 + .4 = .9472; .56832 + .44 = 1.00832.
    assert smoothed(LOSSES, "average") == pytest.approx([1, 0.92, 0.912, 0.9472, 1.00832])


@pytest.mark.parametrize("smoothing", ["two-tap", "average"])
def test_a_constant_loss_stays_and_a_scale_passes_through(smoothing):
    assert smoothed([0.7] * 4, smoothing) == pytest.approx([0.7] * 4)
    assert smoothed([], smoothing) == []
    scaled = smoothed([1e30 * v for v in LOSSES], smoothing)
    assert scaled == pytest.approx([1e30 * v for v in smoothed(LOSSES, smoothing)])


def test_the_best_epoch_is_the_first_of_the_lowest_loss():
    assert best_epoch(TWO_TAP) == 2
    assert best_epoch([0.5, 0.4, 0.4]) == 1


# Stopping.


@pytest.mark.parametrize("modalities", SETS, ids="+".join)
def test_a_modality_stops_at_its_best_while_the_others_go_on(
    shards, tmp_path, monkeypatch, modalities
):
    # With a patience of 1 the filter's third epoch is found to be the best after the fifth.
    stops, *others = modalities
    method, states = MSES(stop_after=1), []
    falling = {m: [1 - 0.1 * epoch for epoch in range(6)] for m in others}
    config = small(shards, modalities=modalities, epochs=7, batch_size=18)
    with running(config, tmp_path, method) as run:
        scripted(monkeypatch, run, **{stops: [*LOSSES, 9.0], **falling})
        step = method.step

        def watched(run, batch):
            step(run, batch)
            states.append((run.snapshot(run.model.encoders[stops]), run.snapshot()))

        method.step = watched
        method.fit(run)
        own = [f"encoders.{stops}.", f"fusion.heads.{stops}."]
        last, best = (states[epoch][1]["model"] for epoch in (6, 2))
        changed = {n for n, v in last.items() if not torch.equal(v, best[n])}
        assert changed == {n for n in last if not n.startswith(tuple(own))}
        # With its momentum, in the fifth epoch and after.
        for name, moments in states[2][0]["optimizer"].items():
            torch.testing.assert_close(run.optimizer_state()[name], moments)
        assert not torch.equal(
            states[4][1]["model"][f"fusion.heads.{stops}.weight"],
            best[f"fusion.heads.{stops}.weight"],
        )

    assert method.stopped == [stops]
    assert sorted(method.kept) == sorted(others)
    logged = [line["logged"] for line in lines(tmp_path)]
    assert [line[f"stopped.{stops}"] for line in logged] == [0] * 5 + [1, 1]
    assert all(line[f"stopped.{m}"] == 0 for line in logged for m in others)
    found = [line[f"smoothed.{stops}"] for line in logged[1:6]]
    assert found == pytest.approx(TWO_TAP)


def test_restoring_the_model_brings_all_back(shards, tmp_path, monkeypatch):
    method, states = MSES(stop_after=1, restores="model"), []
    with running(small(shards, epochs=5, batch_size=18), tmp_path, method) as run:
        scripted(monkeypatch, run, audio=[0.5, 0.6, 0.7, 0.8], visual=[0.9, 0.8, 0.7, 0.6])
        judge = method.judge

        def watched(run):
            judge(run)
            states.append(run.snapshot()["model"])

        method.judge = watched
        method.fit(run)

    # The first epoch of audio is the best, which is known after the third.
    assert all(torch.equal(value, states[1][name]) for name, value in states[3].items())
    assert not all(torch.equal(value, states[1][name]) for name, value in states[2].items())


def test_the_run_ends_when_all_are_stopped(shards, tmp_path, monkeypatch):
    method = MSES(stop_after=0)
    with running(small(shards, epochs=9, batch_size=18), tmp_path, method) as run:
        scripted(monkeypatch, run, audio=[1.0, 2.0, 3.0], visual=[1.0, 0.9, 1.1])
        method.fit(run)

    # Smoothed, visual has 1, .96, .98: it waits for one epoch after the third.
    assert method.stopped == ["audio", "visual"]
    assert len(lines(tmp_path)) == 3


def test_a_stopped_modality_stays_with_its_statistics(shards, tmp_path):
    method = batch_normalised(MSES())
    with running(small(shards), tmp_path, method) as run:
        method.stopped = ["audio"]
        before = {n: v.clone() for n, v in run.model.state_dict().items()}
        run.model.train()
        for batch in run.batches("train"):
            method.step(run, batch)
        changed = {n for n, v in run.model.state_dict().items() if not torch.equal(v, before[n])}
        parameters = {n for n, _ in run.model.named_parameters()}

    assert not any(".audio." in name for name in changed)
    assert any("running_mean" in name for name in changed)
    assert {n for n in parameters if ".visual." in n} <= changed


def test_with_enough_patience_it_is_joint_training_on_the_sum_of_logits(shards, tmp_path):
    mine = fitted(shards, tmp_path / "mses", MSES())
    joint = fitted(shards, tmp_path / "joint", Method(), fusion="sum")
    assert all(torch.equal(value, joint[name]) for name, value in mine.items())


def test_what_is_kept_and_stopped_is_resumed(shards, tmp_path):
    # At such a rate losses go up and down.
    config = small(shards, epochs=4)
    for folder, steps in (("straight", ()), ("torn", (2 * STEPS, 3 * STEPS + 1))):
        method = stopped_at(steps, config, tmp_path / folder, partial(MSES, stop_after=0))
    assert {*method.stopped, *method.kept} == {"audio", "visual"}
    assert same(tmp_path / "straight", tmp_path / "torn")


def test_unfit_parameters_are_refused():
    with pytest.raises(UnknownName, match="did you mean two-tap"):
        MSES(smoothing="two-taps")
    with pytest.raises(UnknownName, match="modality, model"):
        MSES(restores="all")
    with pytest.raises(ConfigError, match="stop_after is at least 0; got -1"):
        MSES(stop_after=-1)
