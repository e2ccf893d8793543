from functools import partial

import pytest
import torch

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.methods.base import Method
from mmtrain.methods.mslr import MSLR, pace
from mmtrain.models.fusions.sum import Sum
from tests.mmtrain.training.test_resume import stopped_at
from tests.support.enginework import STEPS, lines, running, same, small
from tests.support.methodwork import fitted

SETS = [("audio", "visual"), ("audio", "visual", "flow")]
HISTORY = [0.50, 0.52, 0.54, 0.55, 0.56, 0.60]


def test_pace_by_hand():
    # The mean of the five before is 2.67 / 5 = .534, and .6 / .534 = 1.123596.
    assert pace(HISTORY, 5) == pytest.approx(1.123596, abs=1e-6)
    assert 0.9 * pace(HISTORY, 5) == pytest.approx(1.011236, abs=1e-6)
    assert pace([0.1, *HISTORY], 5) == pace(HISTORY, 5)
    assert pace(HISTORY, 1) == pytest.approx(0.6 / 0.56)


def test_pace_is_one_without_a_past():
    for count in range(6):
        assert pace(HISTORY[:count], 5) == 1
    assert pace([0.0] * 5 + [0.3], 5) == 1
    assert pace([0.2] * 6, 5) == pytest.approx(1)
    assert pace([0.2, 0.0], 1) == 0


@pytest.mark.parametrize("modalities", SETS, ids="+".join)
def test_rates_are_of_encoders_and_heads_and_do_not_accumulate(shards, tmp_path, modalities):
    method = MSLR(factors=",".join(f"{m}={i + 1}" for i, m in enumerate(modalities)), window=1)
    config = small(shards, modalities=modalities, epochs=3, batch_size=18)
    accuracies, seen = [], []
    with running(config, tmp_path, method) as run:
        train_epoch, eta = run.train_epoch, config.optimizer.lr

        def watched(method):
            measured = run.measured("val") or {"modalities": {}}
            accuracies.append({m: v["accuracy"] for m, v in measured["modalities"].items()})
            seen.append(run.rates())
            train_epoch(method)

        run.train_epoch = watched
        method.fit(run)

    for epoch, rates in enumerate(seen):
        for i, m in enumerate(modalities):
            # Of one accuracy there is no ratio yet.
            known = [accuracies[e][m] for e in range(1, epoch + 1)]
            factor = (i + 1) * pace(known, 1)
            parts = (f"encoders.{m}.", f"fusion.heads.{m}.")
            own = [rate for name, rate in rates.items() if name.startswith(parts)]
            assert own == pytest.approx([eta * factor] * len(own))
            assert lines(tmp_path)[epoch]["logged"][f"rate.{m}"] == pytest.approx(factor)


def test_keep_leaves_the_rates_as_given(shards, tmp_path):
    method = MSLR(strategy="keep", factors="audio=0.9,visual=1.4", window=1)
    with running(small(shards, epochs=3, batch_size=18), tmp_path, method) as run:
        method.fit(run)
    for line in lines(tmp_path):
        assert line["logged"]["rate.audio"] == pytest.approx(0.9)
        assert line["logged"]["rate.visual"] == pytest.approx(1.4)


def test_equal_rates_are_joint_training_on_the_sum_of_logits(shards, tmp_path):
    mine = fitted(shards, tmp_path / "mslr", MSLR())
    joint = fitted(shards, tmp_path / "joint", Method(), fusion="sum")
    assert all(torch.equal(value, joint[name]) for name, value in mine.items())


def test_the_logits_are_summed_whatever_the_run_chose(shards, tmp_path):
    with running(small(shards, fusion="gated"), tmp_path, MSLR()) as run:
        out = run.model(next(run.batches("val")))
        assert isinstance(run.model.fusion, Sum)
        assert torch.equal(out.fused, sum(out.logits.values()))


def test_accuracies_are_resumed(shards, tmp_path):
    config = small(shards, epochs=3)
    for folder, steps in (("straight", ()), ("torn", (STEPS + 1, 2 * STEPS))):
        method = stopped_at(steps, config, tmp_path / folder, partial(MSLR, window=1))
    assert [len(own) for own in method.accuracies.values()] == [2, 2]
    assert same(tmp_path / "straight", tmp_path / "torn")


def test_unfit_parameters_are_refused(shards, tmp_path):
    with pytest.raises(UnknownName, match="did you mean keep"):
        MSLR(strategy="kept")
    with pytest.raises(ConfigError, match="window is at least 1; got 0"):
        MSLR(window=0)
    for text in ("audio=1", "audio=1,visual=0", "audio"):
        with (
            pytest.raises(ConfigError, match=r"factors are .* audio=0\.5,visual=0\.5; got"),
            running(small(shards), tmp_path, MSLR(factors=text)),
        ):
            pass
