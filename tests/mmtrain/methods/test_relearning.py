import pytest
import torch

from mmtrain.errors import ConfigError
from mmtrain.methods.base import Method
from mmtrain.methods.relearning import Relearning, separability, setback
from tests.support.enginework import lines, running, small
from tests.support.methodwork import batch_normalised, fitted

THREE = ("audio", "visual", "flow")


def of(*values):
    return torch.tensor(values)


def test_the_share_of_the_initial_weights_by_hand():
    # tanh .3, tanh .6, tanh .9, tanh 0; the sign of the gap does not matter.
    train, val = of(0.9, 0.5, 0.7, 0.4), of(0.8, 0.7, 0.4, 0.4)

    weights = setback(train, val, 3.0)

    assert weights.tolist() == pytest.approx([0.291313, 0.537050, 0.716298, 0], abs=1e-5)
    assert torch.equal(setback(val, train, 3.0), weights)
    assert setback(of(1.0), of(0.0), 1e9).item() == 1


def test_columns_count_alike_whatever_their_scale():
    # The classes differ in the first column, which is a thousandth of the second.
    labels = torch.arange(2).repeat_interleave(20)
    noise = torch.linspace(-1, 1, 20).repeat(2)
    features = torch.stack([labels * 1e-3, noise * 0.1], 1)
    scaled = features * of(1e6, 1e-6)

    purities = [
        separability(x, labels, 2, torch.Generator().manual_seed(0)) for x in (features, scaled)
    ]
    assert purities[0] == purities[1]


def test_epochs_that_begin_with_a_diagnosis():
    method = Relearning()
    assert [epoch for epoch in range(100) if method.due(epoch)] == [20, 40, 60]
    assert [e for e in range(9) if Relearning(interval=2, times=2).due(e)] == [2, 4]
    assert not any(Relearning(interval=1, times=0).due(e) for e in range(9))


@pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
def test_each_encoder_goes_back_by_its_own_share_and_nothing_else_moves(
    shards, tmp_path, modalities
):
    method = batch_normalised(Relearning(interval=1))
    with running(small(shards, modalities=modalities), tmp_path, method) as run:
        initial = {n: p.detach().clone() for n, p in run.model.named_parameters()}
        run.model.train()
        for batch in run.batches("train"):
            method.step(run, batch)
        before = {n: v.clone() for n, v in run.model.state_dict().items()}
        method.purities = lambda run, split: shares if split == "train" else shares * 0
        shares = torch.linspace(0, 0.3, len(modalities))
        method.set_back(run)

        weights = dict(zip(modalities, (3 * shares).tanh(), strict=True))
        for name, value in run.model.state_dict().items():
            if name.startswith("encoders.") and name in initial:
                w = weights[name.split(".")[1]]
                expected = w * initial[name] + (1 - w) * before[name]
                torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
            else:
                assert torch.equal(value, before[name]), name
        assert any("running_mean" in name for name in before)


def test_a_diagnosis_compares_train_with_val(shards, tmp_path):
    fitted(shards, tmp_path, Relearning(interval=1, times=1), epochs=3)

    first, second, third = (line["logged"] for line in lines(tmp_path))
    assert not first
    assert not third
    assert set(second) == {f"{n}.{m}" for n in ("train", "val", "setback") for m in THREE[:2]}
    for m in THREE[:2]:
        gap = second[f"train.{m}"] - second[f"val.{m}"]
        assert second[f"setback.{m}"] == pytest.approx(torch.tanh(3 * of(abs(gap))).item())
        assert 1 / 3 <= second[f"train.{m}"] <= 1


def test_until_the_first_diagnosis_it_is_joint_training(shards, tmp_path):
    found = fitted(shards, tmp_path / "a", Relearning(), epochs=2)
    joint = fitted(shards, tmp_path / "b", Method(), epochs=2)

    assert all(torch.equal(found[name], joint[name]) for name in joint)


def test_a_data_set_without_val_is_refused_before_training(shards, tmp_path):
    method = Relearning()
    with running(small(shards), tmp_path, Method()) as run:
        run.feed.dataset.description.splits.pop("val")
        with pytest.raises(ConfigError, match="this data set has no val"):
            method.setup(run)


@pytest.mark.parametrize("wrong", [{"strength": -1.0}, {"interval": 0}, {"times": -1}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is at least"):
        Relearning(**wrong)
