import math

import pytest
import torch

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import ConfigError
from mmtrain.methods.mlb import MLB, coefficients, ratios
from mmtrain.methods.multitask import Multitask
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted

THREE = ("audio", "visual", "flow")


def of(*values):
    return torch.tensor(values)


def test_ratios_and_coefficients_by_hand():
    # S = .6, .3: r = .5, 2; k = 1 + tanh(-.5), 1 + (beta - 1) tanh(1).
    ratio = ratios(of(0.6, 0.3))

    assert ratio.tolist() == pytest.approx([0.5, 2])
    assert coefficients(ratio, 1.0, 2.0).tolist() == pytest.approx([0.537883, 1.761594], abs=1e-6)
    assert coefficients(ratio, 1.0, 5.0).tolist() == pytest.approx([0.537883, 4.046377], abs=1e-6)
    # Of three, the mean of the others: (.3 + .1) / 2 / .2, (.2 + .1) / 2 / .3, (.2 + .3) / 2 / .1.
    assert ratios(of(0.2, 0.3, 0.1)).tolist() == pytest.approx([1, 0.5, 2.5])


def test_coefficients_keep_their_range_and_their_order_at_extreme_scores():
    scores = of(0.0, 1e-30, 1.0, 0.5)
    k = coefficients(ratios(scores), 3.0, 4.0)

    assert k.isfinite().all()
    assert (k >= 1 - math.tanh(3)).all()
    assert (k <= 4).all()
    turned = coefficients(ratios(scores.flip(0)), 3.0, 4.0)
    assert torch.allclose(turned.flip(0), k)


def test_equal_modalities_are_left_alone():
    assert coefficients(ratios(of(0.4, 0.4, 0.4)), 1.0, 5.0).tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
def test_it_scales_the_encoder_and_its_columns_of_the_fusion(shards, tmp_path, modalities):
    plain = OptimizerConfig(lr=0.1, momentum=0, weight_decay=0)
    config = small(shards, optimizer=plain, modalities=modalities)
    with running(config, tmp_path, MLB(alpha=2.0, beta=3.0)) as run:
        batch = next(run.batches("train"))
        run.model.train()
        out = run.model(batch)
        sure = [run.task.confidence(z, batch.target).mean() for z in out.logits.values()]
        k = coefficients(ratios(torch.stack(sure).detach()), 2.0, 3.0)
        gradients = run.gradients(run.method.loss(run, out, batch), run.model)
        names = [name for name, _ in run.model.named_parameters()]
        before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
        run.method.step(run, batch)
        for name, gradient in zip(names, gradients, strict=True):
            expected = gradient.clone()
            for modality, factor in zip(modalities, k, strict=True):
                if name.startswith(f"encoders.{modality}."):
                    expected *= factor
                if name == "fusion.head.weight":
                    expected[:, run.model.fusion.columns[modality]] *= factor
            moved = before[name] - run.model.get_parameter(name).detach()
            torch.testing.assert_close(moved, 0.1 * expected, rtol=1e-3, atol=1e-6)
    assert not torch.allclose(k, torch.ones_like(k), atol=1e-3)


def test_with_alpha_0_or_outside_its_epochs_it_is_multitask(shards, tmp_path):
    alike = fitted(shards, tmp_path / "a", Multitask())
    for name, method in (("b", MLB(alpha=0)), ("c", MLB(start=1)), ("d", MLB(unimodal=1.0, end=0))):
        found = fitted(shards, tmp_path / name, method, epochs=1)
        same = all(torch.equal(found[key], alike[key]) for key in alike)
        assert same == (name != "d")
    assert "k.audio" not in lines(tmp_path / "c")[0]["logged"]
    assert "k.audio" in lines(tmp_path / "d")[0]["logged"]


def test_wrong_options_are_refused(shards, tmp_path):
    with pytest.raises(ConfigError, match="beta is at least 1; got 0"):
        MLB(beta=0)
    with (
        pytest.raises(ConfigError, match="two modalities or more; got audio"),
        running(small(shards, modalities=("audio",)), tmp_path, MLB()),
    ):
        pass
