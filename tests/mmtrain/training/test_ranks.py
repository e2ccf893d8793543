"""Several ranks, as real processes over gloo: they give what one gives, and they end together."""

import json

import pytest
import torch

from mmtrain.config.run import OptimizerConfig
from mmtrain.evaluation.audit import audit
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import BEST, CHECKPOINT
from mmtrain.training.run import LEDGER
from mmtrain.training.train import RESULT, train
from tests.support.enginework import lines, small
from tests.support.rankwork import plan, said, together

pytestmark = pytest.mark.slow


def config_of(shards, **changes):
    # 18 samples in batches of 4: the last step has 2, fewer than three ranks.
    given = {"save_every_steps": 2, "optimizer": OptimizerConfig(lr=0.02)}
    return small(shards, **{**given, **changes})


def nearly_same(one, other):
    for file in (CHECKPOINT, BEST):
        mine, theirs = (checkpoint.load(folder / file)["model"] for folder in (one, other))
        assert list(mine) == list(theirs)
        for name, value in mine.items():
            assert torch.allclose(value, theirs[name], rtol=1e-3, atol=2e-5), name
    tests = [json.loads((folder / RESULT).read_text())["test"] for folder in (one, other)]
    assert tests[0]["loss"] == pytest.approx(tests[1]["loss"], abs=1e-4)
    mine, theirs = lines(one), lines(other)
    for a, b in zip(mine, theirs, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], abs=1e-4)
        assert a["val"]["loss"] == pytest.approx(b["val"]["loss"], abs=1e-4)
    assert not audit(other).wrong
    return True


@pytest.fixture(scope="module")
def ran(shards, tmp_path_factory):
    """Every plan of this file, carried out by one process; where, and the seconds of each."""
    folder = tmp_path_factory.mktemp("ranks")
    joint, scored = config_of(shards), config_of(shards, method="bss-l")
    plans = [
        plan(folder / "two", joint, 2),
        plan(folder / "three", joint, 3),
        plan(folder / "bss-two", scored, 2),
        plan(folder / "stopped", joint, 2, "terminate", 7),
        plan(folder / "stopped", joint, 3),
        plan(folder / "killed", joint, 2, "kill", 7),
        plan(folder / "failed", joint, 3, "fail", 7),
    ]
    seconds = together(plans[:4])
    stopped = said(folder / "stopped", 0)
    ledgers = len([*(folder / "stopped" / LEDGER).iterdir()])
    seconds += together(plans[4:])
    return folder, seconds, stopped, ledgers


@pytest.mark.parametrize("name", ["two", "three"])
def test_several_ranks_give_what_one_gives(ran, shards, tmp_path, name):
    train(config_of(shards), tmp_path)
    assert nearly_same(tmp_path, ran[0] / name)


def test_scores_and_order_are_those_of_one_rank(ran, shards, tmp_path):
    train(config_of(shards, method="bss-l"), tmp_path)
    assert nearly_same(tmp_path, ran[0] / "bss-two")


def test_a_run_stopped_on_two_ranks_goes_on_with_three(ran, shards, tmp_path):
    folder, _, stopped, ledgers = ran
    assert stopped.startswith("Stopped at epoch 2, step 3 of 5")
    assert ledgers == 4
    train(config_of(shards), tmp_path)
    assert nearly_same(tmp_path, folder / "stopped")


def test_a_killed_rank_ends_the_others_soon_with_a_message(ran):
    folder, seconds, *_ = ran
    assert "rank 0 has lost another rank" in said(folder / "killed", 0)
    assert "--resume" in said(folder / "killed", 0)
    assert seconds[5] < 200


def test_an_error_in_one_rank_ends_the_others_with_its_message(ran):
    folder, seconds, *_ = ran
    for rank in (0, 2):
        assert said(folder / "failed", rank).startswith("rank 1 has failed: train/000000.tar: ")
    assert "clip_0007" in said(folder / "failed", 1)
    assert seconds[6] < 200


def test_a_killed_run_goes_on_with_one_rank(ran, shards, tmp_path):
    train(config_of(shards), ran[0] / "killed", resume=True)
    train(config_of(shards), tmp_path)
    assert nearly_same(tmp_path, ran[0] / "killed")
