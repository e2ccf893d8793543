import itertools

import pytest
import torch

from mmtrain.config.run import OptimizerConfig, ViewConfig
from mmtrain.errors import ConfigError
from mmtrain.methods.g_blend import GBlend, Growth, Probe, blended, growth, mean_losses
from mmtrain.tasks.classification import Classification
from mmtrain.training.train import train
from mmtrain.types import Outputs
from tests.support.enginework import lines, running, small

THREE = ("audio", "visual", "flow")
# Of audio, visual and fused, before and after.
TRAIN = torch.tensor([[1.0, 0.4], [1.5, 1.2], [0.9, 0.2]])
VAL = torch.tensor([[1.2, 1.0], [1.6, 1.4], [1.1, 0.8]])


def test_gain_and_overfitting_by_hand():
    # G = 1.2 - 1, 1.6 - 1.4, 1.1 - .8. O = .6 - .2, .2 - .1, .6 - .2.
    grown = growth(TRAIN, VAL)

    torch.testing.assert_close(grown.gain, torch.tensor([0.2, 0.2, 0.3]))
    torch.testing.assert_close(grown.overfitting, torch.tensor([0.4, 0.1, 0.4]))


def test_weights_by_hand():
    # .2 / .16 = 1.25, .2 / .01 = 20, .3 / .16 = 1.875; their sum is 23.125.
    weights = blended(growth(TRAIN.double(), VAL.double()), 1e-6)

    expected = torch.tensor([0.054054, 0.864865, 0.081081], dtype=torch.float64)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-6)


def test_the_loss_is_the_weighted_sum_of_all_heads_by_hand():
    # Cross-entropies of 2, 1 and .5: 2 * .054054 + .864865 + .5 * .081081 = 1.013514.
    method = GBlend()
    method.weights = blended(growth(TRAIN, VAL), 1e-6)

    def logits(loss):  # of two classes, the first of which is true
        return torch.tensor([[0.0, (torch.tensor(loss).exp() - 1).log()]])

    own = {"audio": logits(2.0), "visual": logits(1.0)}
    out = Outputs(fused=logits(0.5), logits=own, features={})

    found = method.sample_losses(Classification(2), out, torch.tensor([0]))

    assert found.item() == pytest.approx(1.013514, abs=1e-5)


def test_weights_are_shares_that_follow_their_heads_and_no_scale():
    torch.manual_seed(0)
    grown = Growth(*torch.rand(2, 4, dtype=torch.float64) + 0.1)
    weights = blended(grown, 1e-9)

    assert weights.sum().item() == pytest.approx(1)
    for order in map(list, itertools.permutations(range(4))):
        moved = blended(Growth(grown.gain[order], grown.overfitting[order]), 1e-9)
        torch.testing.assert_close(moved, weights[order])
    for scale in (1e-3, 7.0, 1e3):
        scaled = blended(Growth(grown.gain * scale, grown.overfitting * scale), 1e-9)
        torch.testing.assert_close(scaled, weights)
    assert torch.equal(blended(Growth(torch.ones(3), -torch.ones(3)), 0.1), torch.full((3,), 1 / 3))


def test_who_does_not_gain_gets_nothing_and_nobody_everything_for_overfitting_none():
    weights = blended(Growth(torch.tensor([-1.0, 0.1, 0.1]), torch.tensor([0.1, 0.0, 0.02])), 0.01)

    # Floored: .1 / .01^2 = 1000 against .1 / .02^2 = 250.
    torch.testing.assert_close(weights, torch.tensor([0, 0.8, 0.2]))


@pytest.mark.parametrize("gain", [[-1.0, -2.0], [0.0, 0.0]])
def test_where_no_head_gains_all_weigh_the_same(gain):
    for overfitting in (0.0, 1e-30, 1e30):
        weights = blended(Growth(torch.tensor(gain), torch.full((2,), overfitting)), 0.01)
        assert weights.tolist() == [0.5, 0.5]


def test_extreme_losses_give_finite_weights():
    for gain, overfitting in itertools.product((1e-30, 1e30), (0.0, 1e-30, 1e15)):
        grown = Growth(torch.full((3,), gain), torch.full((3,), overfitting))
        torch.testing.assert_close(blended(grown, 0.01), torch.full((3,), 1 / 3))


@pytest.mark.parametrize("head", ["visual", "fused"])
def test_a_probe_moves_its_head_and_what_is_below(shards, tmp_path, head):
    with running(small(shards), tmp_path, GBlend()) as run:
        old = {n: p.clone() for n, p in run.model.named_parameters()}
        Probe(head=head).step(run, next(run.batches("train")))
        moved = {n for n, p in run.model.named_parameters() if not torch.equal(p, old[n])}

    heads = {n for n in old if n.startswith("heads.")}
    if head == "fused":
        assert moved == {*old} - heads
    else:
        assert moved == {n for n in old if n.startswith(("encoders.visual.", "heads.visual."))}


def test_the_losses_of_a_probe_are_those_that_evaluation_measures(shards, tmp_path):
    with running(small(shards), tmp_path, GBlend()) as run:
        measured = run.evaluate("val")
        for head in ("audio", "visual"):
            _, val = mean_losses(run, head)
            assert val.item() == pytest.approx(measured["modalities"][head]["loss"], rel=1e-5)
        assert mean_losses(run, "fused")[1].item() == pytest.approx(measured["loss"], rel=1e-5)


def test_an_estimate_is_of_the_probes_and_leaves_no_trace(shards, tmp_path):
    config = small(shards, modalities=THREE, epochs=1, batch_size=9)
    with running(config, tmp_path / "run", GBlend(interval=1)) as run:
        for _ in run.epochs():
            old = {n: v.clone() for n, v in run.model.state_dict().items()}
            run.method.estimate(run)
            assert all(torch.equal(v, old[n]) for n, v in run.model.state_dict().items())
            assert run.epoch == run.position == 0
            estimated = run.method.weights.clone()
            run.train_epoch(run.method)

    # A run that trains one head alone sees what its probe has seen.
    losses = []
    for head in (*THREE, "fused"):
        with running(config, tmp_path / head, GBlend()) as run:
            before = mean_losses(run, head)
            for _ in run.epochs():
                run.train_epoch(Probe(head=head))
            losses.append(torch.stack([before, mean_losses(run, head)], 1))
    grown = growth(*torch.stack(losses).unbind(1))
    torch.testing.assert_close(estimated, blended(grown, 0.01).float())


@pytest.mark.parametrize(
    ("settings", "trials"),
    # Three heads; the last of the probes that begin after two epochs of three has but one left.
    [({"interval": 2}, 3 * 3), ({"interval": 2, "online": False}, 3 * 2)],
    ids=["online", "offline"],
)
def test_estimates_come_once_or_again_and_again(shards, tmp_path, settings, trials):
    config = small(shards, method="g-blend", epochs=3, batch_size=9)
    given = {**config.settings, "method": settings}
    result = train(
        small(shards, method="g-blend", epochs=3, batch_size=9, settings=given), tmp_path
    )

    said = lines(tmp_path)
    assert sum("trial" in line for line in said) == trials
    logged = [line["logged"] for line in said if "trial" not in line]
    assert result["epochs"] == len(logged) == 3
    estimated = ["gain.audio" in line for line in logged]
    assert estimated == ([True, False, False] if "online" in settings else [True, False, True])
    for line in logged:
        heads = [line[f"weight.{head}"] for head in ("audio", "visual", "fused")]
        assert sum(heads) == pytest.approx(1)


def test_given_weights_need_no_probe(shards, tmp_path):
    method = GBlend(given="audio=0.36,visual=0.27,fused=0.37")
    still = OptimizerConfig(lr=1e-12, momentum=0, weight_decay=0)
    view = ViewConfig(frames=2, size=32, crop="resize", flip=False)
    with running(small(shards, epochs=1, optimizer=still, view=view), tmp_path, method) as run:
        method.fit(run)
        (line,) = lines(tmp_path)
        each = [mean_losses(run, head)[0].item() for head in ("audio", "visual", "fused")]
        expected = 0.36 * each[0] + 0.27 * each[1] + 0.37 * each[2]
        assert line["train_loss"] == pytest.approx(expected, rel=1e-4)


def test_unfit_parameters_are_refused(shards, tmp_path):
    with pytest.raises(ConfigError, match="interval is at least 1; got 0"):
        GBlend(interval=0)
    with pytest.raises(ConfigError, match="floor is above 0; got 0"):
        GBlend(floor=0.0)
    with (
        pytest.raises(ConfigError, match=r"given weights are .* audio=0\.5,visual=0\.5,fused=0\.5"),
        running(small(shards), tmp_path, GBlend(given="audio=1,visual=1")),
    ):
        pass
