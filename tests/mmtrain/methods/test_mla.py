import math

import pytest
import torch
from torch.nn import functional as F

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.functional import entropy
from mmtrain.methods.mla import MLA, batch_entropy, certainty, deflated
from mmtrain.models.fusions.shared import Shared
from mmtrain.types import Batch
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted, trained_losses

THREE = ("audio", "visual", "flow")
PLAIN = OptimizerConfig(lr=0.1, momentum=0, weight_decay=0)


def of(*values):
    return torch.tensor(values)


# The projection.


def test_the_projector_by_hand():
    # P = I, r = (3, 4), alpha = .1: k = r, the denominator 25.1, P = I - r r^T / 25.1
    # = ((1 - 9/25.1, -12/25.1), (-12/25.1, 1 - 16/25.1)).
    r = of(3.0, 4.0)
    projector = deflated(torch.eye(2), r, 0.1)

    expected = of([0.641434, -0.478088], [-0.478088, 0.362550])
    torch.testing.assert_close(projector, expected, atol=1e-6, rtol=0)
    # P r = r (1 - 25/25.1) = (.011952, .015936).
    torch.testing.assert_close(projector @ r, of(0.011952, 0.015936), atol=1e-6, rtol=0)


def test_a_projected_gradient_hardly_changes_what_is_said_of_the_feature_by_hand():
    # G = (1, 2): G P = (.641434 - .956175, -.478088 + .725100); G P r = .043825, where G r = 11.
    r, gradient = of(3.0, 4.0), of([1.0, 2.0])
    projected = gradient @ deflated(torch.eye(2), r, 0.1)

    torch.testing.assert_close(projected, of([-0.314741, 0.247012]), atol=1e-6, rtol=0)
    assert (projected @ r).item() == pytest.approx(0.043825, abs=2e-6)
    assert (gradient @ r).item() == 11


def test_the_projector_is_the_inverse_of_what_it_has_seen():
    # Recursive least squares: P = (I + sum r r^T / alpha)^-1, in whatever order.
    torch.manual_seed(0)
    seen = torch.randn(40, 6, dtype=torch.float64)
    moment = torch.eye(6, dtype=torch.float64) + seen.T @ seen / 0.1
    for order in (torch.arange(40), torch.arange(40).flip(0)):
        projector = torch.eye(6, dtype=torch.float64)
        for r in seen[order]:
            projector = deflated(projector, r, 0.1)
        torch.testing.assert_close(projector, moment.inverse())


def test_the_projector_stays_sound_at_extreme_scales():
    projector = torch.eye(3, dtype=torch.float64)
    for r in (of(0.0, 0.0, 0.0), of(1e6, 1e6, 0.0), of(1e6, 1e6, 0.0), of(1e-8, 0.0, 1e-8)):
        projector = deflated(projector, r.double(), 0.1)
    eigenvalues = torch.linalg.eigvalsh(projector)

    assert projector.isfinite().all()
    assert eigenvalues.min() > -1e-9
    assert eigenvalues.max() < 1 + 1e-9


# The weights of a prediction.


def test_weights_by_hand():
    # u = (2, 0, 0): p = (.786986, .106507, .106507), H = .665573; (.5, .5, 0): H = 1.074368.
    # lambda = e^.408795 / (e^.408795 + 1) = .600799; fused (.600799 * 2 + .399201 * .5, ...).
    logits = of([2.0, 0.0, 0.0], [0.5, 0.5, 0.0])
    entropies = entropy(logits)
    weights = certainty(entropies)

    assert entropies.tolist() == pytest.approx([0.665573, 1.074368], abs=1e-5)
    assert weights.tolist() == pytest.approx([0.600799, 0.399201], abs=1e-5)
    fused = (weights[:, None] * logits).sum(0)
    assert fused.tolist() == pytest.approx([1.401199, 0.199600, 0], abs=1e-5)


def test_weights_sum_to_one_follow_the_modalities_and_are_equal_for_equals():
    entropies = torch.rand(3, 5) * 3
    weights = certainty(entropies)

    torch.testing.assert_close(weights.sum(0), torch.ones(5))
    torch.testing.assert_close(certainty(entropies[[2, 0, 1]]), weights[[2, 0, 1]])
    torch.testing.assert_close(certainty(torch.full((3, 2), 0.7)), torch.full((3, 2), 1 / 3))
    assert certainty(of(0.0, 1e4, 1e30)).tolist() == [1, 0, 0]


def test_the_entropy_of_the_released_code_by_hand():
    # Two samples: a softmax down each column. (0, 0) gives ln 2; (ln 3, 0) gives
    # 3/4 ln 4/3 + 1/4 ln 4 = .562335; the sum is 1.255482.
    logits = of([0.0, math.log(3)], [0.0, 0.0])

    assert batch_entropy(logits).item() == pytest.approx(1.255482, abs=1e-5)


@pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
def test_a_prediction_weighs_the_modalities(shards, tmp_path, modalities):
    with running(small(shards, modalities=modalities), tmp_path, MLA()) as run:
        run.model.eval()
        batch = next(run.batches("val"))
        plain = run.model(batch)
        logits = torch.stack([plain.logits[m] for m in modalities])
        rows = torch.stack([entropy(own) for own in logits])
        single = torch.stack([batch_entropy(own) for own in logits])

        for inference, weights in (
            ("entropy", certainty(rows)[..., None]),
            ("batch", certainty(single)[:, None, None]),
            ("mean", torch.full((len(modalities), 1, 1), 1 / len(modalities))),
        ):
            run.method.inference = inference
            out = run.method.predict(run.model, batch)
            torch.testing.assert_close(out.fused, (weights * logits).sum(0))
            assert all(torch.equal(out.logits[m], plain.logits[m]) for m in modalities)


def test_rows_that_fill_up_a_batch_have_no_part_in_its_weights(shards, tmp_path):
    with running(small(shards), tmp_path, MLA(projection="off", inference="batch")) as run:
        run.model.eval()
        batch = next(run.batches("val"))
        filler = torch.arange(len(batch)) >= 2
        filled = Batch(ids=batch.ids, target=batch.target, inputs=batch.inputs, filler=filler)
        two = Batch(
            ids=batch.ids[:2],
            target=batch.target[:2],
            inputs={m: x[:2] for m, x in batch.inputs.items()},
            filler=filler[:2],
        )
        some = run.method.predict(run.model, filled).fused[:2]
        torch.testing.assert_close(some, run.method.predict(run.model, two).fused)


# Training.


def test_a_step_updates_one_modality_after_the_other(shards, tmp_path):
    method = MLA()
    with running(small(shards, modalities=THREE, optimizer=PLAIN), tmp_path, method) as run:
        batch = next(run.batches("train"))
        features = run.model.train().encode(batch)
        head = run.model.fusion.head
        weight, bias = head.weight.detach().clone(), head.bias.detach().clone()
        projector = torch.eye(weight.shape[1], dtype=torch.float64)
        expected = {}
        for m, feature in features.items():
            own = weight.clone().requires_grad_()
            loss = F.cross_entropy(F.linear(feature, own, bias), batch.target)
            (gradient,) = torch.autograd.grad(loss, own, retain_graph=True)
            expected[m] = [
                p.detach() - 0.1 * g
                for p, g in zip(
                    run.model.parameters_of(m),
                    torch.autograd.grad(loss, [*run.model.parameters_of(m)], retain_graph=True),
                    strict=True,
                )
            ]
            hot = F.linear(feature, own, bias).softmax(-1) - F.one_hot(batch.target, len(bias))
            weight = weight - 0.1 * (gradient.double() @ projector).float()
            bias = (bias - 0.1 * hot.mean(0)).detach()
            projector = deflated(projector, feature.detach().double().mean(0), 0.1)
        method.step(run, batch)

        torch.testing.assert_close(head.weight.detach(), weight, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(head.bias.detach(), bias, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(method.projector, projector)
        for m, wanted in expected.items():
            for p, w in zip(run.model.parameters_of(m), wanted, strict=True):
                torch.testing.assert_close(p.detach(), w, atol=1e-5, rtol=1e-4)


def test_projection_leaves_less_and_less_of_the_classifiers_gradient(shards, tmp_path):
    fitted(shards, tmp_path, MLA(), epochs=2)

    first, second = (line["logged"] for line in lines(tmp_path))
    assert set(first) == {f"{n}.{m}" for n in ("loss", "kept") for m in THREE[:2]}
    assert all(0 < second[f"kept.{m}"] < first[f"kept.{m}"] < 1 for m in THREE[:2])


def test_without_projection_it_remembers_nothing(shards, tmp_path):
    method = MLA(projection="off", inference="batch")
    fitted(shards, tmp_path, method)

    assert method.projector.numel() == 0
    assert set(lines(tmp_path)[0]["logged"]) == {"loss.audio", "loss.visual"}


def test_curricula_score_by_the_sum_of_the_unimodal_losses(shards, tmp_path):
    with running(small(shards), tmp_path, MLA()) as run:
        logits = run.score(lambda batch: run.model(batch).logits)
        target = run.score(lambda batch: batch.target)
        expected = sum(F.cross_entropy(z, target, reduction="none") for z in logits.values())
        torch.testing.assert_close(trained_losses(run), expected)


def test_encoders_of_unequal_width_are_refused():
    with pytest.raises(ConfigError, match="equally wide features; got audio 4, visual 8"):
        Shared({"audio": 4, "visual": 8}, 3)


def test_wrong_options_are_refused():
    with pytest.raises(UnknownName, match="no projection 'owm'"):
        MLA(projection="owm")
    with pytest.raises(UnknownName, match="no inference 'max'"):
        MLA(inference="max")
    with pytest.raises(ConfigError, match="alpha is above 0; got 0"):
        MLA(alpha=0.0)
