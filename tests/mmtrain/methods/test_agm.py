"""AGM: the factors by hand, then what a step does with them."""

import math

import pytest
import torch

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import ConfigError
from mmtrain.functional import confidence
from mmtrain.functional.shapley import shapley, subsets
from mmtrain.methods.agm import AGM, factors, ratios
from mmtrain.methods.base import Method
from tests.support.enginework import lines, running, small
from tests.support.methodwork import batch_normalised, fitted

THREE = ("audio", "visual", "flow")
PLAIN = OptimizerConfig(lr=0.1, momentum=0, weight_decay=0)


def of(*values):
    return torch.tensor(values)


def test_scores_and_factors_by_hand():
    # psi of `test_shapley`, class 0: -ln (e^1.55 / (e^1.55 + 2)), -ln (e^.45 / (e^.45 + e^.5 + 1)).
    psi = (of([1.55, 0.0, 0.0]), of([0.45, 0.5, 0.0]))
    scores = torch.stack([-confidence(z, torch.tensor([0])).log().mean() for z in psi])
    assert scores.tolist() == pytest.approx([0.353818, 0.989132], abs=1e-5)
    # e^(.989132 - .353818) and its inverse; of the average e^(1.1 - .9).
    assert ratios(scores).tolist() == pytest.approx([1.887615, 0.529769], abs=1e-5)
    assert ratios(of(0.9, 1.1)).tolist() == pytest.approx([1.221403, 0.818731], abs=1e-5)
    # e^(1.5 (1.221403 - 1.887615)) and e^(1.5 (.818731 - .529769)).
    assert factors(scores, of(0.9, 1.1), 1.5, 10.0).tolist() == pytest.approx(
        [0.368131, 1.542558], abs=1e-5
    )


def test_ratios_of_three_by_hand():
    # The mean is 1.2: e^(1.5 * .3), e^(1.5 * .1), e^(1.5 * -.4).
    assert ratios(of(0.9, 1.1, 1.6)).tolist() == pytest.approx(
        [1.568312, 1.161834, 0.548812], abs=1e-5
    )


def test_factors_are_one_at_the_average_and_finite_at_extremes():
    scores = of(0.2, 3.0, 1.0)
    assert factors(scores, scores, 5.0, 7.0).tolist() == [1, 1, 1]
    worst = factors(of(0.0, 18.4), of(18.4, 0.0), 2.0, 10.0)
    assert worst[0] == 0
    assert worst[1].item() == pytest.approx(math.exp(2 * 10.0), rel=1e-5)
    permuted = factors(scores[[2, 0, 1]], of(1.0, 1.0, 0.5)[[2, 0, 1]], 1.0, 7.0)
    torch.testing.assert_close(permuted, factors(scores, of(1.0, 1.0, 0.5), 1.0, 7.0)[[2, 0, 1]])


def test_gradients_are_those_of_the_logits_in_proportions_by_hand(shards, tmp_path):
    # The logits of all get (kappa_a + kappa_v) / 2 of the gradient; those without visual
    # (kappa_a - kappa_v) / 2, and those without audio the negative of it.
    method = AGM(alpha=1.5)
    with running(small(shards, optimizer=PLAIN), tmp_path, method) as run:
        method.average, method.steps = of(2.0, 1.0), 4
        batch = next(run.batches("train"))
        run.model.train()
        whole = run.model(batch).fused
        audio, visual = (run.model(batch.only(m)).fused for m in ("audio", "visual"))
        psi = ((whole - visual + audio) / 2, (whole - audio + visual) / 2)
        scores = torch.stack([-confidence(z.detach(), batch.target).log().mean() for z in psi])
        k = factors(scores, of(2.0, 1.0), 1.5, 10.0)
        assert k[0] < 1 < k[1]
        upstream = (whole.softmax(-1) - torch.eye(3)[batch.target]).detach() / len(batch)
        surrogate = (k[0] + k[1]) / 2 * whole + (k[0] - k[1]) / 2 * (audio - visual)
        expected = run.gradients((surrogate * upstream).sum(), run.model)
        before = [p.detach().clone() for p in run.model.parameters()]
        method.step(run, batch)
        for p, old, gradient in zip(run.model.parameters(), before, expected, strict=True):
            torch.testing.assert_close(p - old, -0.1 * gradient, atol=1e-6, rtol=1e-3)
        torch.testing.assert_close(method.average, of(2.0, 1.0) + (scores - of(2.0, 1.0)) / 5)
        assert method.steps == 5


@pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
def test_without_strength_it_is_joint_training(shards, tmp_path, modalities):
    mine = fitted(shards, tmp_path / "a", AGM(alpha=0), modalities=modalities, optimizer=PLAIN)
    joint = fitted(shards, tmp_path / "b", Method(), modalities=modalities, optimizer=PLAIN)
    for name, value in joint.items():
        torch.testing.assert_close(mine[name], value, atol=1e-4, rtol=1e-3)


def test_passes_with_hidden_inputs_leave_statistics_and_mode_alone(shards, tmp_path):
    weights = {}
    for name, made in (("agm", AGM), ("joint", Method)):
        method = batch_normalised(made())
        with running(small(shards), tmp_path / name, method) as run:
            run.model.train()
            method.step(run, next(run.batches("train")))
            assert all(module.training for module in run.model.modules())
            weights[name] = run.model.state_dict()
    means = [name for name in weights["agm"] if "running_mean" in name]
    assert means
    assert all(torch.equal(weights["agm"][name], weights["joint"][name]) for name in means)


@pytest.mark.parametrize("made", [AGM, lambda: batch_normalised(AGM())], ids=["group", "batch"])
def test_shared_passes_give_what_a_pass_for_each_set_of_modalities_gives(shards, tmp_path, made):
    method = made()
    with running(small(shards, modalities=THREE), tmp_path, method) as run:
        batch = next(run.batches("train")).hiding(audio=torch.tensor([True, False, False, False]))
        run.model.train()
        out = run.model(batch)
        *parts, everything = subsets(THREE)
        with run.evaluating():
            logits = {chosen: run.model(batch.only(*chosen)).fused for chosen in parts}
        expected = shapley({**logits, everything: out.fused}, THREE)
        shares = method._shares(run, batch, out)
        for modality in THREE:
            torch.testing.assert_close(shares[modality], expected[modality], atol=1e-6, rtol=1e-5)
            gradients = (
                run.gradients(psi[modality].square().sum(), run.model) for psi in (shares, expected)
            )
            for mine, theirs in zip(*gradients, strict=True):
                torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_it_logs_what_it_does(shards, tmp_path):
    fitted(shards, tmp_path, AGM(), modalities=THREE)

    (line,) = lines(tmp_path)
    logged = line["logged"]
    assert set(logged) == {
        f"{name}.{m}" for name in ("share_loss", "ratio", "kappa") for m in THREE
    }
    assert min(logged.values()) > 0


def test_what_it_cannot_do_is_refused(shards, tmp_path):
    with pytest.raises(ConfigError, match="alpha is at least 0; got -1"):
        AGM(alpha=-1)
    with pytest.raises(ConfigError, match="cap is above 0"):
        AGM(cap=0)
    with (
        pytest.raises(ConfigError, match="needs two or more; got audio"),
        running(small(shards, modalities=("audio",)), tmp_path, AGM()),
    ):
        pass
