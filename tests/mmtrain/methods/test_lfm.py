import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.functional import infonce
from mmtrain.methods.lfm import (
    Heuristic,
    Learned,
    heuristic,
    hypergradient,
    reversed_js,
    weight_steps,
)
from tests.mmtrain.training.test_resume import stopped_at
from tests.support.enginework import lines, running, same, small

THREE = ("audio", "visual", "flow")


def pair(first, second):
    return {"audio": torch.tensor(first), "visual": torch.tensor(second)}


def log(*probs):
    return torch.tensor([probs]).log()


# The weight of lfm-h.


@pytest.mark.parametrize(
    ("t", "alpha"),
    [(1, 0.632121), (2, 0.393469), (3, 0.283469), (10, 0.095163), (50, 0.019801), (100, 0.00995)],
)
def test_the_heuristic_weight_by_hand(t, alpha):
    assert heuristic(t) == pytest.approx(alpha, abs=5e-7)


def test_the_heuristic_weight_falls_and_stays_within_0_and_1():
    weights = [heuristic(t) for t in range(1, 500)]

    assert all(1 > one > other > 0 for one, other in pairwise(weights))


def test_steps_of_a_given_weight():
    assert weight_steps("") == {}
    assert weight_steps("1") == {0: 1}
    assert weight_steps("0:0.05, 50:0.95") == {0: 0.05, 50: 0.95}


@pytest.mark.parametrize(
    "text", ["1.5", "-0.1", "x", "nan", "3:0.5", "0:0.5,0:1", "0:1,9:0,4:1", "0:0.5,", "0:0.5:1"]
)
def test_weights_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match=r"weights are in \[0, 1\], such as 0\.5, or 0:0\.05"):
        Heuristic(weights=text)


def test_a_given_weight_takes_the_place_of_the_formula(shards, tmp_path):
    with running(small(shards, epochs=3), tmp_path, Heuristic(weights="0:0.05,2:0.95")) as run:
        run.method.fit(run)

    assert [line["logged"]["alpha"] for line in lines(tmp_path)] == pytest.approx(
        [0.05, 0.05, 0.95]
    )


def test_with_weight_1_labels_have_no_influence(shards, tmp_path):
    with running(small(shards), tmp_path, Heuristic(weights="1")) as run:
        batch = next(run.batches("train"))
        out = run.model(batch)
        loss = run.method.loss(run, out, batch)

        torch.testing.assert_close(loss, infonce(out.features, 0.07))
        assert not any(g.any() for g in run.gradients(loss, run.model.fusion))


# The losses of alignment.


@pytest.mark.parametrize(
    ("second", "temperature", "loss"),
    [
        # S = I: each row has softmax (e, 1) / (e + 1), so -ln of the first is ln(1 + 1/e).
        ([[1.0, 0.0], [0.0, 1.0]], 1.0, math.log(1 + math.exp(-1))),
        # S has its 1 beside the diagonal: ln(1 + e).
        ([[0.0, 1.0], [1.0, 0.0]], 1.0, math.log(1 + math.e)),
        ([[1.0, 0.0], [0.0, 1.0]], 0.07, math.log1p(math.exp(-1 / 0.07))),
    ],
    ids=["alike", "swapped", "cold"],
)
def test_infonce_by_hand(second, temperature, loss):
    features = pair([[1.0, 0.0], [0.0, 1.0]], second)

    assert infonce(features, temperature).item() == pytest.approx(loss, abs=2e-7)


def test_infonce_of_features_that_do_not_differ_is_ln_b_and_of_one_sample_0():
    assert infonce(pair([[2.0, 1.0]] * 4, [[3.0, -1.0]] * 4), 0.07).item() == pytest.approx(
        math.log(4)
    )
    assert infonce(pair([[2.0, 1.0]], [[-2.0, 5.0]]), 0.07).item() == 0


def test_infonce_of_three_is_the_mean_over_pairs_whatever_lengths_and_order():
    features = {m: torch.randn(5, 7) for m in THREE}
    a, b, c = features.values()

    found = infonce(features, 0.5)

    each = [infonce({"one": x, "other": y}, 0.5) for x, y in ((a, b), (c, a), (c, b))]
    torch.testing.assert_close(found, torch.stack(each).mean())
    longer = {m: z * torch.linspace(0.1, 99, 5)[:, None] for m, z in features.items()}
    torch.testing.assert_close(found, infonce(longer, 0.5))


def test_infonce_survives_extremes_and_half_precision():
    features = pair([[1e30, 0.0], [0.0, 0.0]], [[1e-30, 0.0], [0.0, -1e30]])
    for rows in features.values():
        rows.requires_grad_()
    loss = infonce(features, 0.07)
    loss.backward()
    assert loss.isfinite()
    assert all(rows.grad.isfinite().all() for rows in features.values())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(infonce(features, 0.07), loss)
        assert infonce({m: z.bfloat16() for m, z in features.items()}, 0.07).dtype == torch.float32


@pytest.mark.parametrize(
    ("p", "q", "loss"),
    [((0.9, 0.1), (0.1, 0.9), 0.510826), ((0.7, 0.2, 0.1), (0.4, 0.4, 0.2), 0.047756)],
)
def test_reversed_js_by_hand(p, q, loss):
    # The first: m = (.5, .5), so .5 (ln(.5 / .9) + ln(.5 / .1)) = .5 ln(.25 / .09).
    for one, other in ((p, q), (q, p)):
        found = reversed_js({"audio": log(*one), "visual": log(*other)})
        assert found.item() == pytest.approx(loss, abs=1e-6)


def test_reversed_js_is_0_for_equal_probabilities_and_finite_for_extreme_ones():
    z = torch.tensor([[1e4, 0.0, -1e4], [0.0, 3.0, 1.0]])

    assert reversed_js({"audio": z, "visual": z + 5}).item() == pytest.approx(0, abs=1e-6)
    assert reversed_js({"audio": z, "visual": -z, "flow": z}).isfinite()


# The weight of lfm-lb.


def quadratic(theta, centre):
    """The gradient of ``|theta - centre|^2 / 2``."""
    return [theta - centre]


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_hypergradient_where_the_hessian_is_the_identity(alpha):
    # L_CLS and L_MM are quadratic around a and b, so the optimum is (1 - alpha) a + alpha b and Eq.
    # 3 is alpha |a - b|^2 = 13 alpha.
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -1.0])
    theta = (1 - alpha) * a + alpha * b

    found = hypergradient(quadratic(theta, a), quadratic(theta, b), quadratic(theta, a))

    assert found.item() == pytest.approx(13 * alpha, abs=1e-5)


@pytest.mark.parametrize(("alpha", "found"), [(0.2, 2.883), (0.5, 7.111), (0.8, 23.951)])
def test_hypergradient_where_the_identity_is_an_estimate(alpha, found):
    # Hessians A = diag(1, 4) and B = diag(2, .5); at the optimum of the mixture, by coordinate
    # theta = ((1 - alpha) A a + alpha B b) / ((1 - alpha) A + alpha B).
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -1.0])
    label, align = torch.tensor([1.0, 4.0]), torch.tensor([2.0, 0.5])
    fit, gap = (1 - alpha) * label, alpha * align
    theta = (fit * a + gap * b) / (fit + gap)

    fitting, aligning = [label * (theta - a)], [align * (theta - b)]

    assert hypergradient(fitting, aligning, fitting).item() == pytest.approx(found, abs=6e-4)


def test_hypergradient_of_one_step_by_hand():
    # From theta = 0 at a rate of .1 and alpha = .5: grad L_CLS = (-1, -8), grad L_MM = (-6, .5),
    # so theta' = (.35, .375) with grad L_CLS = (-.65, -6.5): -<(-5, 8.5), (-.65, -6.5)> = 52.
    fitting, aligning = torch.tensor([-1.0, -8.0]), torch.tensor([-6.0, 0.5])
    after = torch.tensor([-0.65, -6.5])

    assert hypergradient([fitting], [aligning], [after]).item() == pytest.approx(52)


def test_hypergradient_is_that_of_one_step_at_a_small_rate():
    torch.manual_seed(0)
    theta, a, b, c = torch.randn(4, 6, dtype=torch.float64)
    rate, alpha = 1e-5, 0.4

    def held_out(alpha):
        moved = theta - rate * ((1 - alpha) * (theta - a) + alpha * (theta - b))
        return (moved - c).square().sum() / 2

    slope = (held_out(alpha + 1e-3) - held_out(alpha - 1e-3)) / 2e-3
    parts = (list(part.split(2)) for part in (theta - a, theta - b, theta - c))
    assert hypergradient(*parts).item() == pytest.approx(slope.item() / rate, rel=1e-3)


@pytest.mark.parametrize("align", ["infonce", "js"])
def test_the_loss_is_a_mixture_and_the_weight_follows_the_epoch(shards, tmp_path, align):
    config = small(shards, modalities=THREE)
    method = Heuristic(align=align)
    with running(config, tmp_path, method) as run:
        method.fit(run)
        batch = next(run.batches("train"))
        out = run.model(batch)
        fitting = F.cross_entropy(out.fused, batch.target)
        aligning = infonce(out.features, 0.07) if align == "infonce" else reversed_js(out.logits)
        assert aligning > 0
        for run.epoch, alpha in ((0, 0.632121), (4, 0.181269)):
            expected = (1 - alpha) * fitting + alpha * aligning
            torch.testing.assert_close(method.loss(run, out, batch), expected)

    assert [line["logged"]["alpha"] for line in lines(tmp_path)] == pytest.approx(
        [0.632121, 0.393469], abs=1e-6
    )


def test_the_learned_weight_moves_against_its_gradient_before_every_epoch_but_the_first(
    shards, tmp_path
):
    config = small(shards, epochs=3)
    method = Learned(held=6, rate=0.01, start=0.5)
    with running(config, tmp_path, method) as run:
        assert len(run.feed.ids) == 12
        method.fit(run)
        assert run.model.training

    first, *later = [line["logged"] for line in lines(tmp_path)]
    assert "hypergradient" not in first
    before = first["alpha"]
    assert before == pytest.approx(0.5)
    for logged in later:
        assert logged["hypergradient"] != 0
        assert logged["alpha"] == pytest.approx(before - 0.01 * logged["hypergradient"], abs=1e-6)
        before = logged["alpha"]
    assert method.alpha == pytest.approx(before)


def test_the_learned_weight_has_its_gradient_from_training_and_held_out_samples(shards, tmp_path):
    method = Learned(held=4)
    with running(small(shards), tmp_path, method) as run:
        batch = next(run.batches("train"))
        out = run.model(batch)
        fitting, aligning = (
            method.sample_losses(run.task, out, batch.target).mean(),
            method.alignment(run, out),
        )
        start = run.generator.get_state()
        found = method.gradient(run, fitting, aligning)

        run.generator.set_state(start)
        held = run.held_out()
        outer = F.cross_entropy(run.model(held).fused, held.target)
        (f, a, v) = (
            torch.cat([g.flatten() for g in run.gradients(loss, run.model)])
            for loss in (fitting, aligning, outer)
        )
        assert found == pytest.approx((f - a).dot(v).item(), rel=1e-4)


@pytest.mark.parametrize(("rate", "bounds"), [(1e6, {0.05, 0.95}), (0.0, {0.5})])
def test_the_learned_weight_stays_within_its_bounds(shards, tmp_path, rate, bounds):
    method = Learned(held=4, rate=rate, start=0.5)
    with running(small(shards), tmp_path, method) as run:
        method.fit(run)
    assert method.alpha in bounds


def test_the_learned_weight_is_resumed(shards, tmp_path):
    config = small(shards, epochs=3)
    made = partial(Learned, held=2, start=0.5)
    # 4 steps an epoch: inside the first, behind its last, and behind the one that has just learned.
    for name, steps in (("straight", ()), ("torn", (2, 4, 5))):
        learned = stopped_at(steps, config, tmp_path / name, made)

    assert learned.alpha != 0.5
    assert same(tmp_path / "straight", tmp_path / "torn")


def test_what_lfm_cannot_do_is_said(shards, tmp_path):
    with pytest.raises(UnknownName, match=r"no alignment 'cosine'.*infonce, js"):
        Heuristic(align="cosine")
    with pytest.raises(ConfigError, match="temperature is above 0; got 0"):
        Heuristic(temperature=0.0)
    with pytest.raises(ConfigError, match=r"start is in \[0\.05, 0\.95\]; got 1"):
        Learned(start=1.0)
    with pytest.raises(ConfigError, match="held is at least 1"):
        Learned(held=0)
    config = small(shards, modalities=("audio",))
    with (
        pytest.raises(ConfigError, match="two modalities or more; got audio"),
        running(config, tmp_path, Heuristic()),
    ):
        pass
    with running(small(shards), tmp_path / "wide", Heuristic()) as run:
        run.model.fusion.widths["audio"] = 32
        with pytest.raises(ConfigError, match=r"one width; got \{'audio': 32, 'visual': 64\}"):
            run.method.setup(run)
        Heuristic(align="js").setup(run)
