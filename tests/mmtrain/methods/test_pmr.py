"""PMR: the equations by hand, then what training does with prototypes."""

import math

import pytest
import torch

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.functional import confidence, discrepancy, entropy
from mmtrain.methods.base import Method
from mmtrain.methods.pmr import PMR, class_means, lags, prototype_logits
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted

THREE = ("audio", "visual", "flow")
ALL = torch.ones(2, dtype=torch.bool)
AUDIO = prototype_logits(torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 2.0]]), ALL)
VISUAL = prototype_logits(torch.tensor([[0.5, 0.5], [0.5, 0.6]]), torch.eye(2), ALL)
TARGET = torch.tensor([0, 1])


def test_distances_and_probabilities_by_hand():
    # Sample 0 is on its own prototype and sqrt(1 + 4) from the other; sample 1 sqrt(2) and 1.
    torch.testing.assert_close(AUDIO, torch.tensor([[0, -2.236068], [-1.414214, -1]]))
    torch.testing.assert_close(
        AUDIO.softmax(-1),
        torch.tensor([[0.903442, 0.096558], [0.397902, 0.602098]]),
        atol=1e-6,
        rtol=0,
    )
    # sqrt(.25 + .25) to both; sqrt(.25 + .36) = .781025 and sqrt(.25 + .16) = .640312.
    torch.testing.assert_close(
        VISUAL.softmax(-1), torch.tensor([[0.5, 0.5], [0.46488, 0.53512]]), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("switch", "gamma"),
    [("soft", 0.454459), ("hard", 1.0)],  # 1.505540 / 1.035120 = 1.454459
)
def test_only_the_modality_behind_is_drawn(switch, gamma):
    scores = {"audio": confidence(AUDIO, TARGET).sum(), "visual": confidence(VISUAL, TARGET).sum()}
    rho = discrepancy(scores)

    behind, ahead = lags(rho, switch)

    assert rho["audio"].item() == pytest.approx(1.454459, abs=1e-5)
    assert behind["visual"].item() == ahead["audio"].item() == pytest.approx(gamma, abs=1e-5)
    assert behind["audio"].item() == ahead["visual"].item() == 0


def test_prototype_losses_by_hand():
    # -(ln .903442 + ln .602098) / 2 and -(ln .5 + ln .53512) / 2.
    losses = [-confidence(z, TARGET).log().mean().item() for z in (AUDIO, VISUAL)]
    assert losses == pytest.approx([0.304439, 0.659206], abs=1e-5)


def test_the_clip_ends_at_one_and_level_modalities_weigh_nothing():
    rho = {m: torch.tensor(r) for m, r in {"a": 3.0, "b": 0.25, "c": 1.0, "d": 1e8}.items()}
    for switch in ("soft", "hard"):
        behind, ahead = lags(rho, switch)
        assert [x.item() for x in behind.values()] == [0, 1, 0, 0]
        assert [x.item() for x in ahead.values()] == [1, 0, 0, 1]


def test_class_means_leave_out_what_no_sample_has():
    means = class_means(torch.tensor([[1.0, 2], [3, 4], [5, 5]]), torch.tensor([0, 0, 2]), 3)
    assert means[[0, 2]].tolist() == [[2, 3], [5, 5]]
    assert means[1].isnan().all()


def test_a_feature_on_its_prototype_has_a_gradient():
    features = torch.tensor([[1.0, 0.0], [1e4, -1e4]], requires_grad=True)
    logits = prototype_logits(features, torch.eye(2), ALL)
    logits.log_softmax(-1)[:, 0].sum().backward()
    assert features.grad.isfinite().all()


def test_a_class_without_prototype_has_probability_0_and_no_gradient():
    features = torch.tensor([[1.0, 2.0]], requires_grad=True)
    logits = prototype_logits(features, torch.tensor([[0.0, 0], [0, 0]]), torch.tensor([1, 0]) > 0)

    assert logits.softmax(-1).tolist() == [[1, 0]]
    assert entropy(logits).item() == 0
    logits.log_softmax(-1)[0, 0].backward()
    assert features.grad.tolist() == [[0, 0]]


def test_prototypes_are_class_means_of_all_samples_where_all_are_drawn(shards, tmp_path):
    method = PMR(share=1.0)
    with running(small(shards, modalities=THREE), tmp_path, method) as run:
        method.refresh(run)
        seen = run.score(lambda b: {"x": run.model.feature("flow", b), "y": b.target})
        for k in range(3):
            torch.testing.assert_close(
                method.prototypes["flow"][k], seen["x"][seen["y"] == k].mean(0)
            )
        assert method.known.all()


def test_momentum_mixes_from_the_third_time_on(shards, tmp_path):
    # mu = .2: .8 (1, 0) + .2 (0, 1) = (.8, .2). The first are of the untrained model.
    method = PMR(share=1.0)
    with running(small(shards), tmp_path, method) as run:
        method.refresh(run)
        new = {m: c.clone() for m, c in method.prototypes.items()}
        for epoch, kept in ((1, 0.0), (2, 0.2)):
            run.epoch = epoch
            method.prototypes = {m: torch.ones_like(c) for m, c in new.items()}
            method.refresh(run)
            for m, c in new.items():
                torch.testing.assert_close(method.prototypes[m], (1 - kept) * c + kept)


def test_a_class_that_is_not_drawn_keeps_its_prototype(shards, tmp_path):
    method = PMR(share=1e-6)  # One sample.
    with running(small(shards), tmp_path, method) as run:
        method.refresh(run)
        assert method.known.sum() == 1
        (first,) = method.known.nonzero()[0].tolist()
        while method.known.sum() < 2:
            before = method.prototypes["audio"].clone()
            method.refresh(run)
        other = [k for k in range(3) if not torch.equal(method.prototypes["audio"][k], before[k])]
        assert len(other) == 1
        assert other != [first]


def test_the_loss_is_what_the_equation_gives(shards, tmp_path):
    method = PMR(share=1.0, alpha=2.0, entropy=0.5)
    with running(small(shards), tmp_path, method) as run:
        method.refresh(run)
        method.prototypes["visual"] = method.prototypes["visual"] + 5  # Far from all features.
        batch = next(run.batches("train"))
        out = run.model(batch)
        logits = {
            m: prototype_logits(out.features[m], method.prototypes[m], method.known)
            for m in out.features
        }
        sums = {m: confidence(z, batch.target).sum() for m, z in logits.items()}
        behind, ahead = lags(discrepancy(sums), "soft")
        expected = run.task.losses(out.fused, batch.target).mean()
        for m, z in logits.items():
            expected = expected + 2 * behind[m] * run.task.losses(z, batch.target).mean()
            expected = expected - 0.5 * ahead[m] * entropy(z).mean()
        torch.testing.assert_close(method.loss(run, out, batch), expected)
        assert max(*behind.values(), *ahead.values()) > 0
        run.epoch = 10  # Behind the epochs with entropy.
        expected = expected + sum(0.5 * ahead[m] * entropy(z).mean() for m, z in logits.items())
        torch.testing.assert_close(method.loss(run, out, batch), expected)


def test_only_the_encoder_that_is_behind_gets_another_gradient(shards, tmp_path):
    method = PMR(share=1.0, switch="hard", entropy=0.0)
    with running(small(shards), tmp_path, method) as run:
        method.refresh(run)
        batch = next(run.batches("train"))
        losses = [of.loss(run, run.model(batch), batch) for of in (Method(), method)]
        changed = {}
        for m in run.model.modalities:
            plain, own = (run.gradients(loss, run.model.encoders[m]) for loss in losses)
            changed[m] = any(not torch.equal(p, q) for p, q in zip(plain, own, strict=True))
        assert sorted(changed.values()) == [False, True]


@pytest.mark.parametrize("outside", [{"alpha": 0.0, "entropy": 0.0}, {"start": 1}])
def test_without_weight_or_outside_the_window_it_is_joint_training(shards, tmp_path, outside):
    mine = fitted(shards, tmp_path / "a", PMR(**outside))
    joint = fitted(shards, tmp_path / "b", Method())
    assert all(torch.equal(mine[name], joint[name]) for name in joint)


def test_the_window_is_left_after_its_last_epoch(shards, tmp_path):
    fitted(shards, tmp_path, PMR(end=0), epochs=2)
    first, second = (line["logged"] for line in lines(tmp_path))
    assert first["rho.audio"] * first["rho.visual"] > 0
    assert not math.isnan(first["prototype_loss.audio"])
    assert not second


def test_wrong_options_are_refused():
    for wrong in ({"alpha": -1}, {"prototype_momentum": 1}, {"share": 0}, {"entropy_epochs": -1}):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is .*; got"):
            PMR(**wrong)
    with pytest.raises(ConfigError, match="end is before start"):
        PMR(start=2, end=1)
    with pytest.raises(UnknownName, match="did you mean soft"):
        PMR(switch="sof")
