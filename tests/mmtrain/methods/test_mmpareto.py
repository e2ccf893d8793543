"""MMPareto: the mixture by hand, then what a step does to encoders and heads."""

import pytest
import torch

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import ConfigError
from mmtrain.methods.mmpareto import MMPareto, fused_weight, inner, integrated
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted

THREE = ("audio", "visual", "flow")
PLAIN = OptimizerConfig(lr=0.1, momentum=0, weight_decay=0)
JOINT = torch.tensor([1.0, 0.0])


def weight_of(one, other):
    one, other = [one], [other]
    return fused_weight(inner(one, one), inner(other, other), inner(one, other))


@pytest.mark.parametrize(
    ("own", "c", "expected"),
    [
        # cos = -.5 / 1.118034; c = (1.25 + .5) / (1 + 1.25 + 1); n = (.615385, .923077) is shorter
        # than g_1 + g_2 = (.5, 1) by 1.007782.
        ((-0.5, 1.0), 0.538462, (0.930261, 1.395391)),
        # No conflict: 1.5 (g_1 + g_2).
        ((0.5, 1.0), 0.5, (2.25, 1.5)),
        # (.82 + .9) / (1 + .82 + 1.8); n = (.005525, .104972), times 1.345362.
        ((-0.9, 0.1), 0.475138, (0.011149, 0.211839)),
    ],
)
def test_the_mixture_by_hand(own, c, expected):
    own = torch.tensor(own)
    weight = weight_of(JOINT, own)
    mixed = integrated(JOINT, own, weight, 1.5)

    assert weight.item() == pytest.approx(c, abs=1e-6)
    assert mixed.tolist() == pytest.approx(expected, abs=1e-5)


def test_in_conflict_neither_loss_suffers():
    # The point of least norm on the line has the same product with both ends: .930261.
    own = torch.tensor([-0.5, 1.0])
    mixed = integrated(JOINT, own, weight_of(JOINT, own), 1.5)
    assert [(mixed @ g).item() for g in (JOINT, own)] == pytest.approx([0.930261] * 2, abs=1e-5)

    generator = torch.Generator().manual_seed(0)
    for one, other in torch.randn(50, 2, 8, generator=generator):
        mixed = integrated(one, other, weight_of(one, other), 1.0)
        assert min(mixed @ one, mixed @ other) > 0
        assert mixed.norm() >= (one + other).norm() * (1 - 1e-5)
        swapped = integrated(other, one, weight_of(other, one), 1.0)
        torch.testing.assert_close(swapped, mixed)


def test_nothing_breaks_at_opposite_vanishing_or_extreme_gradients():
    zero = torch.zeros(2)
    assert weight_of(zero, JOINT).item() == pytest.approx(0.999)
    assert weight_of(JOINT, zero).item() == pytest.approx(0.001)
    for one, other in (
        (JOINT, -JOINT),
        (zero, zero),
        (zero, JOINT),
        (1e15 * JOINT, -1e-15 * JOINT),
    ):
        assert integrated(one, other, weight_of(one, other), 1.5).isfinite().all()
    assert not integrated(JOINT, -JOINT, weight_of(JOINT, -JOINT), 1.5).any()


def test_tensors_are_scaled_by_themselves_and_weighed_together():
    # One encoder of two tensors: the second conflicts alone, yet the whole does not.
    joint, own = [JOINT, torch.tensor([0.1, 0.0])], [JOINT, torch.tensor([-0.1, 0.0])]
    c = fused_weight(inner(joint, joint), inner(own, own), inner(joint, own))
    assert c == 0.5
    assert integrated(joint[1], own[1], c, 1.5).tolist() == [0, 0]


@pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
def test_a_step_moves_encoders_by_the_mixture_and_all_else_as_multitask(
    shards, tmp_path, modalities
):
    method = MMPareto()
    config = small(shards, optimizer=PLAIN, modalities=modalities)
    with running(config, tmp_path, method) as run:
        batch = next(run.batches("train"))
        out = run.model.train()(batch)
        losses = run.task.losses
        fused = losses(out.fused, batch.target).mean()
        total = method.sample_losses(run.task, out, batch.target).mean()
        expected = dict(
            zip(
                [n for n, _ in run.model.named_parameters()],
                run.gradients(total, run.model),
                strict=True,
            )
        )
        for m in modalities:
            encoder = run.model.encoders[m]
            joint = run.gradients(fused, encoder)
            own = run.gradients(losses(out.logits[m], batch.target).mean(), encoder)
            c = fused_weight(inner(joint, joint), inner(own, own), inner(joint, own))
            names = [f"encoders.{m}.{n}" for n, _ in encoder.named_parameters()]
            for name, one, other in zip(names, joint, own, strict=True):
                expected[name] = integrated(one, other, c, 1.5)
        before = {n: p.detach().clone() for n, p in run.model.named_parameters()}
        method.step(run, batch)
        for name, p in run.model.named_parameters():
            change = p.detach() - before[name]
            torch.testing.assert_close(change, -0.1 * expected[name], atol=1e-6, rtol=1e-3)


def test_without_conflict_and_factor_the_losses_are_uniform():
    generator = torch.Generator().manual_seed(1)
    for one, other in torch.randn(50, 2, 3, generator=generator):
        if one @ other > 0:
            mixed = integrated(one, other, weight_of(one, other), 1.0)
            torch.testing.assert_close(mixed, one + other)


def test_it_logs_the_angle_and_what_came_of_it(shards, tmp_path):
    fitted(shards, tmp_path, MMPareto(), modalities=THREE)

    (line,) = lines(tmp_path)
    logged = line["logged"]
    assert set(logged) == {f"{n}.{m}" for n in ("cosine", "fused_weight", "scale") for m in THREE}
    for m in THREE:
        assert -1 <= logged[f"cosine.{m}"] <= 1
        assert 0 < logged[f"fused_weight.{m}"] < 1
        assert logged[f"scale.{m}"] >= 1.5 * (1 - 1e-5)


def test_an_encoder_that_is_frozen_stays_so(shards, tmp_path):
    method = MMPareto()
    with running(small(shards), tmp_path, method) as run:
        run.model.encoders["audio"].requires_grad_(False)
        before = [p.clone() for p in run.model.parameters_of("audio")]
        method.step(run, next(run.batches("train")))
        after = run.model.parameters_of("audio")
        assert all(torch.equal(p, q) for p, q in zip(before, after, strict=True))


def test_a_factor_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="rescale is above 0; got 0"):
        MMPareto(rescale=0)
