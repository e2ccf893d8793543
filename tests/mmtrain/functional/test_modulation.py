"""The equations that OPM and OGM share; Example A and B are worked in full in their docstrings."""

import math

import pytest
import torch
from torch.nn import functional as F

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.functional.gradient_edit import (
    device_generator,
    scale_gradients,
    standard_normal,
    weight_gradients,
)
from mmtrain.functional.masking import has_any_modality, mask_features, restore_emptied
from mmtrain.functional.modulation import difference, logged_by_modality, ogm_factor, squash
from mmtrain.methods.shared.modulation import Modulation
from mmtrain.models.fusions.concat import Concat
from mmtrain.tasks.classification import Classification
from mmtrain.types import Outputs
from tests import unchecked

A = (1.844623, 0.542116)
B = (3.0, 1.25, 0.375)
TASK = Classification(3)


def of(*values):
    return torch.tensor(values)


def alone(sums):
    return sums


@pytest.fixture
def example():
    """Example A: two modalities, three classes, two samples.

    ``W^1 = [[1,0],[0,1],[0,0]]``, ``W^2 = W^1 / 2``, ``b = (.2, -.2, 0)``,
    ``phi^1 = [[2,0],[0,1]]``, ``phi^2 = [[1,0],[1,0]]``. With half of the bias each
    ``u^1 = [[2.1,-.1,0],[.1,.9,0]]`` and ``u^2 = [[.6,-.1,0],[.6,-.1,0]]``, of which the softmax
    of the targets 0 and 1 is (.810859, .538823) and (.488903, .242782).
    """
    fusion = Concat({"audio": 2, "visual": 2}, 3)
    with torch.no_grad():
        fusion.head.weight.copy_(of((1, 0, 0.5, 0), (0, 1, 0, 0.5), (0, 0, 0, 0)))
        fusion.head.bias.copy_(of(0.2, -0.2, 0))

    def classify(features):
        return Outputs(fused=fusion(features), logits=fusion.split(features), features=features)

    features = {"audio": of((2.0, 0.0), (0.0, 1.0)), "visual": of((1.0, 0.0), (1.0, 0.0))}
    return classify(features), of(0, 1), classify


def test_the_lead_of_example_a(example):
    scores, rho = Modulation().lead(TASK, *example, alone)

    assert scores.tolist() == pytest.approx([1.349682 / 2, 0.731685 / 2], abs=1e-6)
    assert rho.tolist() == pytest.approx(A, abs=1e-6)
    assert not rho.requires_grad


@pytest.mark.parametrize(
    ("share", "rho"), [(0, 1.877730), (1, 1.803265), (0.5, 1.844623), (None, 1.844623)]
)
def test_the_share_of_the_bias_moves_the_lead(example, share, rho):
    # Without bias u^1 = (2,0,0), (0,1,0) and u^2 = (.5,0,0) twice, so the softmax of the targets is
    # (.786986 + .576117) / (.451863 + .274069) = 1.877730. With all of it (2.2,-.2,0), (.2,.8,0)
    # and (.7,-.2,0) twice: (.8323 + .5005) / (.5254 + .2136) = 1.8033.
    assert Modulation(bias_share=share).lead(TASK, *example, alone).rho[0].item() == pytest.approx(
        rho, abs=1e-6
    )


@pytest.mark.parametrize(
    ("shares", "scores", "log_ratio"),
    [
        (0.5, (0.867026, 0.479167), 0.593021),
        ("0.5,0.5", (0.867026, 0.479167), 0.593021),
        ((1 / 3, 2 / 3), (0.859684, 0.496746), 0.548485),
        ("0.333333333, 0.666666667", (0.859684, 0.496746), 0.548485),
    ],
)
def test_each_modality_may_have_its_own_share_of_the_bias(shares, scores, log_ratio):
    # Without bias (2,0,-1) and (.5,.2,0); the bias (.3,0,-.3) is split in halves by the fusion.
    # With thirds (2.1,0,-1.1) and (.7,.2,-.2); ln(.859684 / .496746) = .548485.
    bias = of((0.3, 0.0, -0.3))
    logits = {"audio": of((2.0, 0.0, -1.0)) + bias / 2, "visual": of((0.5, 0.2, 0.0)) + bias / 2}
    out = Outputs(fused=sum(logits.values()), logits=logits, features={})
    silent = Outputs(fused=bias, logits={}, features={})

    found = Modulation(bias_share=shares).lead(TASK, out, of(0), lambda features: silent, alone)

    assert found.scores.tolist() == pytest.approx(scores, abs=1e-6)
    assert found.rho[0].log().item() == pytest.approx(log_ratio, abs=2e-6)


class Halved(Classification):
    """A task whose confidence is half of the probability of the class."""

    def confidence(self, logits, target):
        return super().confidence(logits, target) / 2


def test_the_score_is_the_confidence_of_the_task(example):
    scores, _ = Modulation().lead(Halved(3), *example, alone)

    assert scores.tolist() == pytest.approx([1.349682 / 4, 0.731685 / 4], abs=1e-6)


def test_the_lead_is_a_ratio_of_sums_over_all_ranks(example):
    # Elsewhere 2 samples score .4 and 1.2: (1.349682 + .4) / (.731685 + 1.2) = .905780.
    scores, rho = Modulation().lead(TASK, *example, lambda sums: sums + of(0.4, 1.2, 2.0))

    assert rho.tolist() == pytest.approx([0.905780, 1 / 0.905780], abs=1e-5)
    assert scores.tolist() == pytest.approx([1.749682 / 4, 1.931685 / 4], abs=1e-6)


def test_the_lead_as_a_difference_of_sums(example):
    # 1.349682 - .731685 = .617997.
    found = Modulation(rho="difference").lead(TASK, *example, alone)

    assert found.rho.tolist() == pytest.approx([0.617997, -0.617997], abs=1e-6)


def test_the_lead_of_three():
    # One sample of two classes, softmax(ln(p / (1 - p)), 0) = p: p = .8, .4, .2 gives Example B.
    logits = {
        m: of((math.log(p / (1 - p)), 0.0)) for m, p in zip("abc", (0.8, 0.4, 0.2), strict=True)
    }
    out = Outputs(fused=of((0.0, 0.0)), logits=logits, features={})

    found = Modulation().lead(Classification(2), out, of(0), lambda features: out, alone)

    assert found.rho.tolist() == pytest.approx(B)


def test_difference_by_hand():
    # ((20 - 10) + (20 - 5)) / 2 = 12.5; ((10 - 20) + (10 - 5)) / 2 = -2.5; -10.
    assert difference(of(20.0, 10.0, 5.0)).tolist() == [12.5, -2.5, -10]
    assert difference(of(20.0, 10.0)).tolist() == [10, -10]
    assert difference(of(20.0)).tolist() == [0]


def test_squash_by_hand():
    assert squash(of(A[0], 1.0, 0.5), "tanh").tolist() == pytest.approx([0.688250, 0, 0], abs=1e-6)
    assert squash(of(1.0, 0.0), "sigmoid").tolist() == pytest.approx([0.731059, 0.5], abs=1e-6)


def test_ogm_factor_by_hand():
    # 1 - .8 tanh(.844623) = .449400; 1 - .8 tanh(2) = .228778; 1 - .8 tanh(.25) = .804065.
    assert ogm_factor(of(*A), 0.8).tolist() == pytest.approx([0.449400, 1], abs=1e-6)
    assert ogm_factor(of(*B), 0.8).tolist() == pytest.approx([0.228778, 0.804065, 1], abs=1e-6)
    # 1 - .8 tanh(.5) and 1 - .8 tanh(3); 1 - 2.6 tanh(.405465) is 0.
    found = ogm_factor(of(1.5, 4.0), 0.8).tolist()
    assert found == pytest.approx([0.630306, 0.203956], abs=1e-6)
    assert ogm_factor(of(1.4, 1.405466, 9.0), 2.6).tolist() == pytest.approx(
        [0.012134, 0, 0], abs=1e-5
    )


def test_ogm_factor_by_the_sigmoid_is_strong_as_soon_as_there_is_a_lead():
    # 1 - .8 sigmoid(1) = .415153; 1 - .8 sigmoid(2) = .295362.
    found = ogm_factor(of(1.0, 1.0 + 1e-6, 2.0), 0.8, "sigmoid").tolist()

    assert found == pytest.approx([1, 0.415153, 0.295362], abs=1e-5)


def test_ogm_factor_falls_with_the_lead_and_stays_in_its_range():
    k = ogm_factor(torch.linspace(0, 5, 200), 0.7)

    assert (k.diff() <= 0).all()
    assert k[0] == 1
    assert k.min() > 0.3


def test_a_small_difference_never_speeds_up_who_is_ahead():
    # tanh(d - 1) is negative below 1, and 1 - .8 tanh(-1) would be 1.609.
    k = ogm_factor(of(1e-3, 0.5, 10.0, -10.0), 0.8, "tanh", 0.0)

    assert k.tolist() == pytest.approx([1, 1, 0.2, 1])


@pytest.mark.parametrize("name", ["rho", "z"])
def test_an_unknown_choice_names_the_known(name):
    with pytest.raises(UnknownName, match=f"no {name} 'ratoi'"):
        Modulation(**{name: "ratoi"})


@pytest.mark.parametrize(("rho", "threshold"), [("ratio", 0.5), ("difference", -1)])
def test_a_threshold_where_everybody_is_ahead_is_refused(rho, threshold):
    with pytest.raises(ConfigError, match="threshold is at least"):
        Modulation(rho=rho, threshold=threshold)


def test_options_that_are_no_numbers_and_an_empty_window_are_refused():
    with unchecked(), pytest.raises(ConfigError, match="bias_share takes a number"):
        Modulation(bias_share="half")
    for wrong in ("", "0.5,", (), float("nan")):
        with pytest.raises(ConfigError, match="bias_share takes a number, or one a modality"):
            Modulation(bias_share=wrong)
    with unchecked(), pytest.raises(ConfigError, match="threshold is at least 0; got 'low'"):
        Modulation(threshold="low")
    with pytest.raises(ConfigError, match="end is before start"):
        Modulation(start=3, end=2)


def test_gates_and_windows():
    assert [Modulation(rho=rho).gate for rho in ("ratio", "difference")] == [1, 0]
    assert Modulation(rho="difference", threshold=1).gate == 1
    window = Modulation(start=1, end=2)
    assert [window.active(epoch) for epoch in range(4)] == [False, True, True, False]
    assert Modulation().active(999)


def test_gradients_are_scaled_and_their_norms_returned():
    gradients = {"audio": [of(3.0, 4.0), of((0.0,), (0.0,))], "visual": [of(5.0)], "flow": []}

    before, after = scale_gradients(gradients, of(0.5, 1.0, 0.0))

    assert gradients["audio"][0].tolist() == [1.5, 2]
    assert gradients["visual"][0].tolist() == [5]
    assert (before.tolist(), after.tolist()) == ([5, 5, 0], [2.5, 5, 0])


def test_noise_is_as_large_as_a_tensor_varies_before_it_is_scaled():
    # The unbiased deviation of (1, -1, 3, -3) is sqrt(20 / 3) = 2.581989.
    shape = of(1.0, -1.0, 3.0, -3.0)
    audio, visual = shape.repeat(50_000), 2 * shape.repeat(50_000)
    kept = audio.clone(), visual.clone()

    scale_gradients(
        {"audio": [audio], "visual": [visual]}, of(0.25, 1.0), torch.Generator().manual_seed(0)
    )

    for noisy, factor, before in ((audio, 0.25, kept[0]), (visual, 1.0, kept[1])):
        noise = noisy - factor * before
        scale = before.std().item()
        assert noise.std().item() == pytest.approx(scale, rel=0.01)
        assert noise.mean().item() == pytest.approx(0, abs=0.01 * scale)
        assert abs((noise * before).mean().item()) < 0.01 * scale**2


def test_a_tensor_without_spread_gets_no_noise():
    one, equal = of(3.0), torch.full((5,), 2.0)

    scale_gradients({"audio": [one, equal]}, of(1.0), torch.Generator().manual_seed(0))

    assert one.tolist() == [3]
    assert equal.tolist() == [2] * 5


def test_a_generator_on_the_device_follows_the_one_that_it_comes_from():
    def drawn(source):
        return torch.rand(4, generator=device_generator(source, torch.device("cpu")))

    source = torch.Generator().manual_seed(5)
    first, second = drawn(source), drawn(source)

    assert torch.equal(first, drawn(torch.Generator().manual_seed(5)))
    assert not torch.equal(first, second)


def test_normal_by_hand():
    assert standard_normal(of(0.5, 0.975, 0.025)).tolist() == pytest.approx(
        [0, 1.959964, -1.959964], abs=1e-5
    )
    assert standard_normal(of(0.0, 1 - 2**-24)).isfinite().all()


def weighted(weights):
    """Gradient of the mean of three losses with gradients (1,0), (3,2), (2,4), so weighted."""
    parameter = torch.zeros(2, requires_grad=True)
    feature = (of((1.0, 0.0), (3.0, 2.0), (2.0, 4.0)) @ parameter)[:, None]
    weight_gradients(feature, weights)
    feature.mean().backward()
    return parameter.grad


def test_weights_act_behind_the_feature():
    # The mean (2, 2), halved; less, of w - mean w = (2, -1, -1), ((2,0) - (3,2) - (2,4)) / 3.
    assert weighted(torch.full((3,), 0.5)).tolist() == pytest.approx([1, 1])
    assert weighted(of(2.5, -0.5, -0.5)).tolist() == pytest.approx([1 - 1, 1 - 2], abs=1e-6)
    frozen = torch.ones(3, 1)
    weight_gradients(frozen, torch.ones(3))
    assert frozen.tolist() == [[1], [1], [1]]


def test_weights_less_their_mean_have_the_covariance_of_the_gradient():
    # Linear in w, so the covariance is the sum over its directions. The gradients deviate from
    # their mean by (-1,-2), (1,0), (0,2): 1/9 [[2, 2], [2, 8]].
    found = [weighted(direction - 1 / 3) for direction in torch.eye(3)]

    covariance = sum(torch.outer(h, h) for h in found)

    assert covariance.flatten().tolist() == pytest.approx(
        [0.2222, 0.2222, 0.2222, 0.8889], abs=1e-4
    )


def test_masked_features_and_their_gradients_are_zero():
    features = {"audio": torch.ones(2, 3, requires_grad=True), "visual": torch.ones(2, 1)}

    left = mask_features(features, of((True, False), (False, True)))
    left["audio"].sum().backward()

    assert left["audio"].tolist() == [[1] * 3, [0] * 3]
    assert left["visual"].tolist() == [[0], [1]]
    assert features["audio"].grad.tolist() == [[1] * 3, [0] * 3]


def test_a_sample_is_classified_by_what_is_left_of_it(example):
    # Sample 0 of Example A loses modality 1: (.7,-.2,0), whose loss was .115317.
    out, target, classify = example

    left = classify(mask_features(out.features, of((False, True), (True, True)))).fused

    assert left.flatten().tolist() == pytest.approx([0.7, -0.2, 0, 0.7, 0.8, 0], abs=1e-6)
    losses = F.cross_entropy(left, target, reduction="none")
    assert losses.tolist() == pytest.approx([0.643513, 0.856187], abs=1e-6)


def test_the_only_shown_modality_is_restored():
    keep = of((True, False), (False, False), (True, False), (False, True))
    shown = {"audio": of(True, True, False, True)}

    assert has_any_modality(keep, shown, ("audio", "visual")).tolist() == [True, False, False, True]
    assert restore_emptied(keep, shown, ("audio", "visual")).tolist() == [
        [True, False], [True, True], [True, True], [False, True]
    ]  # fmt: skip
    assert has_any_modality(keep, {}, ("audio", "visual")).tolist() == [True, False, True, True]


def test_logged_quantities_are_named_by_modality():
    assert logged_by_modality(("audio", "flow"), k=of(0.5, 1.0)) == {"k.audio": 0.5, "k.flow": 1}
