import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from mmtrain.errors import ConfigError, Interrupted, UnknownName
from mmtrain.methods.iprm import IPRM, divergence, rebalance
from mmtrain.models.fusions.arcs import Arcs, chord, geodesic, unit
from tests.support.enginework import running, small
from tests.support.methodwork import trained_losses

TWO = ("audio", "visual")
THREE = ("audio", "visual", "flow")
E1, E2 = torch.eye(2)


def at(angle: float) -> torch.Tensor:
    """The direction at an angle from E1."""
    return torch.tensor([math.cos(angle), math.sin(angle)])


def watched(run):
    """Collects what a step minimises and logs."""
    seen = {}
    minimise, log = run.minimise, run.log
    run.minimise = lambda loss: (seen.update(loss=loss.detach()), minimise(loss))
    run.log = lambda **scalars: (seen.update(scalars), log(**scalars))
    return seen


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        # sin and cos of 22.5, 45 and 67.5 degrees.
        (0.25, (0.382683, 0.923880)),
        (0.5, (0.707107, 0.707107)),
        (0.75, (0.923880, 0.382683)),
        (1.0, (1, 0)),
        (0.0, (0, 1)),
    ],
)
def test_geodesic_between_orthogonal_directions(weight, expected):
    found = geodesic(E1, E2, torch.tensor(weight))

    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_geodesic_at_sixty_degrees_by_hand():
    # At .3 of a, 42 degrees from it: (cos 42, sin 42). Half way 1 / (2 cos 30) of each.
    found = geodesic(E1, at(math.pi / 3), torch.tensor(0.3))
    halfway = geodesic(E1, at(math.pi / 3), torch.tensor(0.5))

    assert found.tolist() == pytest.approx([0.743145, 0.669131], abs=1e-6)
    assert halfway.tolist() == pytest.approx([0.866025, 0.5], abs=1e-6)


def test_geodesic_stays_on_the_sphere_and_is_symmetric():
    noise = torch.Generator().manual_seed(0)
    first, second = (unit(torch.randn(50, 16, generator=noise)) for _ in range(2))
    weight = torch.rand(50, generator=noise)

    found = geodesic(first, second, weight)

    angle = (first * second).sum(-1).arccos()
    assert torch.allclose(found.norm(dim=-1), torch.ones(50), atol=1e-5)
    assert torch.allclose(found, geodesic(second, first, 1 - weight), atol=1e-6)
    assert torch.allclose((found * first).sum(-1).arccos(), (1 - weight) * angle, atol=1e-3)


@pytest.mark.parametrize("other", [(3.0, 4.0), (-3.0, -4.0), (3.0, 4.0 + 1e-6), (0.0, 0.0)])
@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_geodesic_and_its_gradient_are_finite_where_the_arc_is_not(other, weight):
    first = torch.tensor([[3.0, 4.0]], requires_grad=True)
    second = torch.tensor([other], requires_grad=True)

    found = geodesic(unit(first), unit(second), torch.tensor([weight]))
    (found * torch.tensor([0.3, -0.7])).sum().backward()

    assert found.isfinite().all()
    assert first.grad.isfinite().all()
    assert second.grad.isfinite().all()
    if other[0] > 0:
        assert found[0].tolist() == pytest.approx([0.6, 0.8], abs=1e-5)


def test_the_linear_mixup_is_shorter():
    assert chord(E1, E2, torch.tensor(0.5)).norm().item() == pytest.approx(0.7071, abs=1e-4)
    assert chord(E1, E2, torch.tensor(0.3)).tolist() == pytest.approx([0.3, 0.7])


def test_divergences_and_weights_by_hand():
    # Of the dossier. The other direction of the divergence would give .7689981.
    audio = torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2]]).log()
    visual = torch.tensor([[0.4, 0.3, 0.3], [0.3, 0.3, 0.4]]).log()
    fused = torch.tensor([[0.6, 0.25, 0.15], [0.2, 0.5, 0.3]]).log()

    first, second = divergence(audio, fused).sum(), divergence(visual, fused).sum()

    assert first.item() == pytest.approx(0.0510302, abs=1e-6)
    assert second.item() == pytest.approx(0.1839193, abs=1e-6)
    assert rebalance(first, second).item() == pytest.approx(0.7828036, abs=1e-6)
    assert rebalance(second, first).item() == pytest.approx(0.2171964, abs=1e-6)


def test_equal_divergences_and_none_are_level():
    divergences = torch.tensor([0.3, 0.0])

    assert rebalance(divergences, divergences).tolist() == [0.5, 0.5]


def test_a_divergence_is_not_negative_and_survives_extremes():
    logits = torch.tensor([[1e4, -1e4, 0.0], [0.1, 0.2, 0.3]])

    found = divergence(logits, torch.stack([logits[1], logits[1] + 1e-4]))

    assert found.isfinite().all()
    assert (found >= 0).all()


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])
def test_a_step_learns_at_the_weights_that_it_has_probed(shards, tmp_path, modalities, passes):
    config = small(shards, modalities=modalities)
    with running(config, tmp_path, IPRM(passes=passes)) as run:
        batch, seen = next(run.batches("train")), watched(run)
        run.model.train()
        features = run.model.encode(batch)
        own = {m: run.model.heads[m](features[m]) for m in modalities}

        def fused_logits(pair, weight):
            z = (F.normalize(features[m], dim=-1) for m in run.model.fusion.pairs[pair])
            return run.model.fusion.heads[pair](geodesic(*z, torch.tensor(weight)))

        loss = sum(F.cross_entropy(own[m], batch.target) for m in modalities)
        expected = []
        for pair, (first, second) in enumerate(run.model.fusion.pairs):
            fused = fused_logits(pair, 0.5).log_softmax(-1)
            far = [
                F.kl_div(fused, own[m].log_softmax(-1), log_target=True, reduction="sum").item()
                for m in (first, second)
            ]
            omega = far[1] / sum(far)
            expected.append(0.8 * 0.5 + 0.2 * omega)
            loss += F.cross_entropy(fused_logits(pair, omega if passes == 2 else 0.5), batch.target)
        run.method.step(run, batch)

        assert seen["loss"].item() == pytest.approx(loss.item(), rel=1e-5)
        assert run.method.weights.tolist() == pytest.approx(expected, abs=1e-5)
        if modalities == TWO:
            assert seen["omega.audio"].item() == pytest.approx(omega, abs=1e-5)
            assert seen["omega.visual"].item() == pytest.approx(1 - omega, abs=1e-5)


def test_the_average_of_weights_by_hand(shards, tmp_path, monkeypatch):
    # .8 .5 + .2 .7 = .54, .8 .54 + .2 .7 = .572, .8 .572 + .2 .6 = .5776.
    omegas = iter([0.7, 0.7, 0.6, 0.9])
    monkeypatch.setattr(
        "mmtrain.methods.iprm.probe", lambda *_: torch.tensor([next(omegas)], dtype=torch.float32)
    )
    with running(small(shards), tmp_path, IPRM()) as run:
        found = []
        for _ in range(3):
            run.method.step(run, next(run.batches("train")))
            found.append(run.method.weights.item())
        run.method.alpha = 0.0
        run.method.step(run, next(run.batches("train")))
        found.append(run.method.weights.item())

    assert found == pytest.approx([0.54, 0.572, 0.5776, 0.9])


def test_encoders_run_once_a_step_and_every_head_learns(shards, tmp_path):
    with running(small(shards, modalities=THREE), tmp_path, IPRM()) as run:
        calls = []
        for m, encoder in run.model.encoders.items():
            encoder.register_forward_hook(lambda *_, m=m: calls.append(m))
        before = {n: p.detach().clone() for n, p in run.model.named_parameters()}
        run.method.step(run, next(run.batches("train")))

        assert calls == [*THREE]
        assert all(not torch.equal(p, before[n]) for n, p in run.model.named_parameters())
        assert {n.rsplit(".", 1)[0] for n in before if "heads" in n} == {
            *(f"heads.{m}" for m in THREE),
            *(f"fusion.heads.{pair}" for pair in range(3)),
        }


def test_one_classifier_learns_of_one_pair_a_step(shards, tmp_path):
    config = small(shards, modalities=THREE)
    with running(config, tmp_path, IPRM(classifiers="single")) as run:
        assert len(run.model.fusion.heads) == 1
        drawn, seen = set(), watched(run)
        for _ in range(12):
            before = run.method.weights
            seen.clear()
            run.method.step(run, next(run.batches("train")))
            (pair,) = (run.method.weights != before).nonzero().flatten().tolist()
            assert {n for n in seen if n != "loss"} == {
                f"omega.{m}" for m in run.model.fusion.pairs[pair]
            }
            drawn.add(pair)
    assert drawn == {0, 1, 2}


@pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])
def test_prediction_adds_up_all_logits_or_takes_the_fused(shards, tmp_path, modalities):
    with running(small(shards, modalities=modalities), tmp_path, IPRM()) as run:
        batch = next(run.batches("val"))
        run.method.weights = torch.linspace(0.2, 0.9, len(run.method.weights))
        run.model.eval()

        whole = run.method.predict(run.model, batch)
        run.method.inference = "fused"
        fused = run.method.predict(run.model, batch).fused

        arcs: Arcs = run.model.fusion
        pairs = [
            head(geodesic(*(unit(whole.features[m]) for m in pair), weight.expand(1)))
            for pair, head, weight in zip(arcs.pairs, arcs.heads, run.method.weights, strict=True)
        ]
        assert torch.allclose(fused, sum(pairs) / len(pairs), atol=1e-6)
        assert torch.allclose(whole.fused, fused + sum(whole.logits.values()), atol=1e-6)
        assert whole.fused.shape == fused.shape == (4, 3)
        assert all(whole.logits[m].shape == (4, 3) for m in modalities)


def test_a_curriculum_sees_the_loss_that_is_trained(shards, tmp_path, monkeypatch):
    with running(small(shards, modalities=TWO), tmp_path, IPRM()) as run:
        seen, observed = watched(run), []
        monkeypatch.setattr(run, "observe", lambda out, batch: observed.append(out))
        batch = next(run.batches("train"))
        run.method.step(run, batch)
        run.method.weights = weight = torch.tensor([0.3])

        def by_hand(batch):
            features = run.model.encode(batch)
            point = geodesic(*(unit(features[m]) for m in TWO), weight)
            logits = [run.model.fusion.heads[0](point)]
            logits += [run.model.heads[m](features[m]) for m in TWO]
            return sum(F.cross_entropy(z, batch.target, reduction="none") for z in logits)

        torch.testing.assert_close(trained_losses(run), run.score(by_hand))
        found = run.method.sample_losses(run.task, observed[0], batch.target).mean()
        torch.testing.assert_close(found.detach(), seen["loss"])


def test_prediction_does_not_depend_on_the_order_of_inputs_and_sees_what_is_shown(shards, tmp_path):
    with running(small(shards, modalities=THREE), tmp_path, IPRM()) as run:
        batch = next(run.batches("val"))
        shown = {"flow": torch.tensor([True, False, True, True]), "audio": torch.ones(4).bool()}
        run.model.eval()
        full = run.method.predict(run.model, batch)

        found = run.method.predict(run.model, replace(batch, shown=shown))
        other = run.method.predict(
            run.model,
            replace(
                batch,
                inputs=dict(reversed(batch.inputs.items())),
                shown=dict(reversed(shown.items())),
            ),
        )

        assert [*found.logits] == [*other.logits] == [*THREE]
        assert torch.equal(found.fused, other.fused)
        rows = (found.fused != full.fused).any(1)
        assert rows.tolist() == [False, True, False, False]


def test_the_model_by_itself_fuses_halfway_and_has_shares(shards, tmp_path):
    with running(small(shards, modalities=THREE), tmp_path, IPRM(inference="fused")) as run:
        batch = next(run.batches("val"))
        run.model.eval()

        out = run.model(batch)

        assert torch.allclose(out.fused, run.method.predict(run.model, batch).fused)
        shares, heads = run.model.fusion.split(out.features), run.model.fusion.heads
        # The pairs are audio-visual, audio-flow, visual-flow.
        visual = unit(out.features["visual"])
        assert [*shares] == [*THREE]
        assert torch.allclose(
            shares["visual"], (heads[0](visual) + heads[2](visual)) / 2, atol=1e-5
        )


@pytest.mark.parametrize("mixup", ["geodesic", "linear"])
def test_the_option_chooses_the_mixup(shards, tmp_path, mixup):
    with running(small(shards), tmp_path, IPRM(mixup=mixup)) as run:
        arcs = run.model.fusion
        ends = (E1[None, None], E2[None, None])
        points = []
        arcs.heads[0].register_forward_hook(lambda _, given, __: points.append(given[0]))
        with torch.no_grad():
            arcs.heads[0].weight.set_(torch.zeros(3, 2))
        arcs.logits_at(ends, torch.tensor([0.5]))

    assert points[0].norm().item() == pytest.approx(1 if mixup == "geodesic" else 0.7071, abs=1e-4)


def test_a_stopped_run_goes_on_with_its_weights_and_its_draws(shards, tmp_path):
    config = small(shards, modalities=THREE, epochs=1)
    ends = []
    for stops in (0, 1):
        folder = tmp_path / str(stops)
        if stops:
            with running(config, folder, IPRM(classifiers="single")) as run:
                run.stopping = True
                with pytest.raises(Interrupted):
                    run.method.fit(run)
        with running(config, folder, IPRM(classifiers="single")) as run:
            assert run.steps == stops
            assert (run.method.weights != 0.5).sum() == stops
            run.method.fit(run)
            ends.append((run.model.state_dict(), run.method.weights))

    assert torch.equal(ends[0][1], ends[1][1])
    assert all(torch.equal(value, ends[1][0][name]) for name, value in ends[0][0].items())


def test_reduced_precision_leaves_heads_and_weights_in_full(shards, tmp_path):
    with running(small(shards, precision="bf16"), tmp_path, IPRM()) as run:
        batch = next(run.batches("train"))
        with torch.autocast("cpu", torch.bfloat16):
            out = run.method.predict(run.model, batch)
            run.method.step(run, batch)

        assert out.fused.dtype == run.method.weights.dtype == torch.float32


def test_features_of_unequal_width_are_a_wrong_request(shards, tmp_path):
    with running(small(shards), tmp_path) as run:
        run.model.fusion.widths = {"audio": 64, "visual": 128}
        with pytest.raises(ConfigError, match="equally wide; got audio 64, visual 128"):
            IPRM().setup(run)


def test_one_modality_has_nothing_to_be_fused_with(shards, tmp_path):
    config = small(shards, modalities=("visual",))
    with pytest.raises(ConfigError, match="visual is alone"), running(config, tmp_path, IPRM()):
        pass


@pytest.mark.parametrize(
    ("given", "message"),
    [({"alpha": 1.0}, r"alpha is in \[0, 1\)"), ({"passes": 3}, "passes is 1 or 2")],
)
def test_values_out_of_range_are_wrong_requests(given, message):
    with pytest.raises(ConfigError, match=message):
        IPRM(**given)


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ({"mixup": "geodesics"}, "geodesic"),
        ({"classifiers": "pair"}, "pairs"),
        ({"inference": "sums"}, "sum"),
    ],
)
def test_unknown_choices_offer_the_nearest(given, near):
    with pytest.raises(UnknownName, match=f"did you mean {near}"):
        IPRM(**given)
