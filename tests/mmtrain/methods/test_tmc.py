from itertools import permutations

import pytest
import torch

from mmtrain.errors import ConfigError
from mmtrain.methods.catalog import METHODS
from mmtrain.methods.tmc import TMC, divergence_from_uniform, evidential_losses
from mmtrain.models.fusions.evidential import combine_evidence
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted, trained_losses

THREE = ("audio", "visual", "flow")
FIRST, SECOND = torch.tensor([[4.0, 1.0, 0.0]]), torch.tensor([[1.0, 2.0, 0.0]])


def by_dempster(first, second):
    """The combination as the paper has it, by beliefs and the conflict."""
    classes = first.shape[-1]
    (b1, u1), (b2, u2) = (
        (e / (e.sum() + classes), classes / (e.sum() + classes)) for e in (first, second)
    )
    conflict = b1.sum() * b2.sum() - (b1 * b2).sum()
    belief = (b1 * b2 + b1 * u2 + b2 * u1) / (1 - conflict)
    return belief, u1 * u2 / (1 - conflict), conflict


def test_the_combination_by_hand():
    # b = (.5, .125, 0), u = .375 and b = (1/6, 1/3, 0), u = .5: K = 3/16, and b = (.487179,
    # .282051, 0), u = .230769; S = 3 / u = 13, alpha = b S + 1.
    belief, uncertainty, conflict = by_dempster(FIRST, SECOND)
    evidence = combine_evidence([FIRST, SECOND])

    assert conflict.item() == pytest.approx(0.1875)
    assert belief[0].tolist() == pytest.approx([0.487179, 0.282051, 0], abs=1e-6)
    assert uncertainty.item() == pytest.approx(0.230769, abs=1e-6)
    assert (evidence + 1)[0].tolist() == pytest.approx([7.333333, 4.666667, 1])
    assert (evidence + 1).sum().item() == pytest.approx(13)


def test_the_loss_by_hand():
    # alpha = (5, 2, 1), y = 0: digamma(8) - digamma(5) = 1/5 + 1/6 + 1/7 = .509524; the divergence
    # of (1, 2, 1) is lgamma(4) - lgamma(3) + digamma(2) - digamma(4) = ln 3 - 1/2 - 1/3 = .265279.
    target = torch.tensor([0])

    assert divergence_from_uniform(torch.tensor([[1.0, 2, 1]])).item() == pytest.approx(0.265279)
    assert evidential_losses(FIRST, target, 0.0).item() == pytest.approx(0.509524)
    assert evidential_losses(FIRST, target, 0.5).item() == pytest.approx(0.642163)


def test_the_combination_is_dempsters_whatever_the_order():
    noise = torch.Generator().manual_seed(0)
    opinions = [torch.rand(1, 5, generator=noise) * 10 for _ in range(3)]
    folded = opinions[0]
    for each in opinions[1:]:
        belief, uncertainty, _ = by_dempster(folded, each)
        folded = 5 * belief / uncertainty

    for order in permutations(opinions):
        torch.testing.assert_close(combine_evidence(order), folded, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(combine_evidence([folded, torch.zeros(1, 5)]), folded)


@pytest.mark.parametrize("size", [0.0, 1e-8, 1e6, 1e12])
def test_loss_and_gradient_are_finite_at_extreme_scales(size):
    # In full conflict, each opinion sure of a class of its own.
    evidence = (torch.eye(3)[:2] * size).requires_grad_()
    both = combine_evidence([evidence[:1], evidence[1:]])
    loss = evidential_losses(both, torch.tensor([2]), 1.0)
    loss.backward()

    assert loss.isfinite().all()
    assert evidence.grad.isfinite().all()
    assert (divergence_from_uniform(both.detach().double() + 1) >= -1e-6).all()


@pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
@pytest.mark.parametrize("joint_view", [False, True], ids=["tmc", "etmc"])
def test_the_loss_is_over_all_opinions(shards, tmp_path, modalities, joint_view):
    method = TMC(joint_view=joint_view, annealing=4)
    with running(small(shards, modalities=modalities), tmp_path, method) as run:
        batch = next(run.batches("train"))
        run.epoch = 1
        out = method.predict(run.model.eval(), batch)
        evidence = run.model.fusion.opinions(out.features)

        assert len(evidence) == len(modalities) + joint_view
        every = [*evidence, combine_evidence(evidence)]
        expected = sum(evidential_losses(each, batch.target, 0.25) for each in every).mean()
        torch.testing.assert_close(method.loss(run, out, batch), expected, rtol=1e-4, atol=1e-4)
        probs = 1 + every[-1]
        probs = probs / probs.sum(-1, keepdim=True)
        torch.testing.assert_close(out.fused.softmax(-1), probs)


def test_it_logs_uncertainties_and_curricula_score_by_its_loss(shards, tmp_path):
    fitted(shards, tmp_path / "a", TMC())
    logged = lines(tmp_path / "a")[0]["logged"]
    assert {*logged} == {f"uncertainty.{n}" for n in ("audio", "visual", "fused")}
    assert all(0 < value <= 1 for value in logged.values())
    assert logged["uncertainty.fused"] < min(logged[f"uncertainty.{m}"] for m in THREE[:2])

    with running(small(shards, fusion="attention"), tmp_path / "b", TMC()) as run:
        losses = trained_losses(run)
        assert losses.isfinite().all()
        assert (losses > 0).all()


def test_etmc_has_the_joint_view():
    assert [METHODS.load(n)().joint_view for n in ("tmc", "etmc")] == [False, True]


def test_a_negative_annealing_is_refused():
    with pytest.raises(ConfigError, match="annealing is at least 0; got -1"):
        TMC(annealing=-1)
