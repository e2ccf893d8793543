import pytest
import torch
from torch.nn import functional as F

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.methods.olm import OLM, generalisation_ratios, loss_ratios, scale_penalty
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted, trained_losses

THREE = ("audio", "visual", "flow")
EACH = pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
NORMS = torch.tensor([[6.0], [3.0], [9.0]])


def of(*values):
    return torch.tensor(values)


def test_lagging_heads_by_hand():
    # Losses .9, .3, .6 of 1.8: 1/2, 1/6, 1/3, whose mean is 1/3.
    ratios = loss_ratios(of(0.9, 0.3, 0.6), torch.full((3,), 1.8))
    assert ratios.tolist() == pytest.approx([1.5, 0.5, 1])


def test_the_pull_by_hand():
    # Norms 6, 3, 9, mean 6, times r = 1.5, .5, 1: targets 9, 3, 6, so 3 + 0 + 3; a step down
    # the gradient makes the first longer and the last shorter.
    scales = torch.ones(3, requires_grad=True)
    found = scale_penalty(scales, NORMS, of(1.5, 0.5, 1.0))
    found.sum().backward()

    assert found.item() == pytest.approx(6)
    assert scales.grad.tolist() == [-6, 0, 9]


def test_generalisation_by_hand():
    # G = .5, .3, .6 and falls in training of .9, 1.5, 1.2: O = .4, 1.2, .6, ratios 1.25, .25, 1.
    # Targets 6 r = 2.795, 1.028, 2.177 are all below the norms: the gradient is the norms.
    ratios = generalisation_ratios(of(0.5, 0.3, 0.6), of(0.9, 1.5, 1.2))
    scales = torch.ones(3, requires_grad=True)
    scale_penalty(scales, NORMS, ratios).sum().backward()

    assert ratios.tolist() == pytest.approx([0.465836, 0.171371, 0.362793], abs=1e-5)
    assert (6 * ratios).tolist() == pytest.approx([2.795, 1.028, 2.177], abs=1e-3)
    assert scales.grad.tolist() == [6, 3, 9]


def test_ratios_follow_the_heads_and_are_one_for_equals():
    losses, first = torch.rand(4) + 0.1, torch.rand(4) + 0.1
    order = [2, 0, 3, 1]
    torch.testing.assert_close(
        loss_ratios(losses[order], first[order]), loss_ratios(losses, first)[order]
    )
    assert loss_ratios(losses, first).mean().item() == pytest.approx(1)
    assert loss_ratios(losses, losses).tolist() == pytest.approx([1] * 4)
    assert generalisation_ratios(losses, 2 * losses).tolist() == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("values", [(0.0, 0.0), (1e-30, 1.0), (1e30, 1.0), (-1e30, 1e30)])
def test_ratios_are_sound_at_extreme_scales(values):
    losses = of(*values)
    for ratios in (loss_ratios(losses.abs(), of(1.0, 0.0)), generalisation_ratios(losses, -losses)):
        assert ratios.isfinite().all()


@EACH
@pytest.mark.parametrize("variant", ["mended", "released"])
def test_a_step_moves_the_numbers_by_both_forces(shards, tmp_path, modalities, variant):
    plain = OptimizerConfig(lr=0.1, momentum=0, weight_decay=0)
    method = OLM(rate=0.5, variant=variant)
    with running(small(shards, modalities=modalities, optimizer=plain), tmp_path, method) as run:
        batch = next(run.batches("train"))
        out = run.model.train()(batch)
        logits = torch.stack([*out.logits.values(), out.fused])
        with torch.no_grad():
            run.model.logit_scales.copy_(torch.arange(len(logits)) / 4 + 0.5)
        scales = run.model.logit_scales.detach().clone().requires_grad_()
        method.first, method.begun = torch.ones(2, len(logits)), True
        run.epoch = 1
        each = [F.cross_entropy(w * u, batch.target) for w, u in zip(scales, logits, strict=True)]
        losses = torch.stack(each)
        ratios = (losses / losses.mean()).detach()
        whole = losses.sum() + scale_penalty(scales, logits.detach().norm(dim=-1), ratios).mean()
        (gradient,) = torch.autograd.grad(whole, [scales], retain_graph=True)
        network = run.gradients(losses.sum(), run.model.encoders)
        before = [p.detach().clone() for p in run.model.encoders.parameters()]
        method.step(run, batch)

        expected = scales.detach() - 0.05 * gradient
        torch.testing.assert_close(run.model.logit_scales.detach(), expected)
        after = run.model.encoders.parameters()
        for p, g, old in zip(after, network, before, strict=True):
            torch.testing.assert_close(p.detach(), old - 0.1 * g, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("variant", "last"), [("mended", False), ("released", True)])
def test_the_reference_is_of_the_first_step_or_the_last_of_the_epoch(
    shards, tmp_path, variant, last
):
    with running(small(shards), tmp_path, OLM(variant=variant)) as run:
        now = [run.method.ratios(run, of(*losses)) for losses in ((1.0, 2.0, 4.0), (1.0, 1.0, 1.0))]
        assert now[0].tolist() == [1, 1, 1]
        assert (now[1].tolist() == [1, 1, 1]) == last
        run.epoch = 1
        assert run.method.ratios(run, of(2.0, 2.0, 2.0)).tolist() == pytest.approx(
            [1, 1, 1] if last else [12 / 7, 6 / 7, 3 / 7]
        )


@pytest.mark.parametrize(("variant", "total"), [("mended", 4), ("released", 1)])
def test_generalisation_is_measured_on_samples_held_out(shards, tmp_path, variant, total):
    method = OLM(target="generalisation", held=4, variant=variant)
    adam = OptimizerConfig(name="adamw", lr=1e-3)
    fitted(shards, tmp_path, method, modalities=THREE, optimizer=adam)

    logged = lines(tmp_path)[0]["logged"]
    names = (*THREE, "fused")
    assert {*logged} == {f"{n}.{m}" for n in ("scale", "ratio", "loss") for m in names}
    assert sum(logged[f"ratio.{m}"] for m in names) == pytest.approx(total, abs=1e-4)
    assert (method.holds_out, OLM().holds_out) == (4, 0)


def test_the_prediction_is_without_the_numbers_and_curricula_score_all_heads(shards, tmp_path):
    with running(small(shards), tmp_path, OLM()) as run:
        before = trained_losses(run)
        with torch.no_grad():
            run.model.logit_scales.mul_(3)
        torch.testing.assert_close(trained_losses(run), before)


def test_wrong_options_are_refused(shards, tmp_path):
    with pytest.raises(ConfigError, match="held is at least 1; got 0"):
        OLM(held=0)
    with pytest.raises(UnknownName, match="target"):
        OLM(target="loss")
    with (
        pytest.raises(ConfigError, match="audio is alone"),
        running(small(shards, modalities=("audio",)), tmp_path, OLM()),
    ):
        pass
