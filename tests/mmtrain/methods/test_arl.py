import pytest
import torch
from torch.nn import functional as F

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import ConfigError
from mmtrain.functional import entropy
from mmtrain.methods.arl import ARL, asymmetry, reliance, shares
from mmtrain.tasks.classification import Classification
from mmtrain.types import Outputs
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted, trained_losses

THREE = ("audio", "visual", "flow")
PLAIN = OptimizerConfig(lr=0.1, momentum=0, weight_decay=0)
# Logits of one sample of class 0: of two modalities, and fused.
AUDIO, VISUAL = torch.tensor([[2.1, 0.0, -1.1]]), torch.tensor([[0.6, 0.2, -0.1]])
FUSED = torch.tensor([[2.6, 0.2, -1.1]])
EACH = pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])


def of(*values):
    return torch.tensor(values)


# The equations.


def test_the_loss_by_hand():
    # .109250 + 4 (.151191 + .773300) = 3.807214.
    out = Outputs(fused=FUSED, logits={"audio": AUDIO, "visual": VISUAL}, features={})

    loss = ARL(unimodal=4.0).sample_losses(Classification(3), out, torch.tensor([0]))

    assert loss.item() == pytest.approx(3.807214, abs=1e-5)


def test_weights_by_hand():
    # H = .484402, 1.057455, shares .314168 and .685832: none below the floor .3; r are the inverse.
    # |u| sum to 3.2 and .9: c = .780488, .219512. r^a c^v = .150548, r^v c^a = .245204; with T = 8
    # the first is 1 / (1 + e^.757248) = .319245, with T = 4 it is .406459.
    entropies = torch.cat([entropy(AUDIO), entropy(VISUAL)])
    contributions = shares(torch.stack([AUDIO.abs().sum(), VISUAL.abs().sum()]))
    reliances = reliance(entropies)

    assert entropies.tolist() == pytest.approx([0.484402, 1.057455], abs=1e-5)
    assert shares(entropies).tolist() == pytest.approx([0.314168, 0.685832], abs=1e-5)
    assert reliances.tolist() == pytest.approx([0.685832, 0.314168], abs=1e-5)
    assert contributions.tolist() == pytest.approx([0.780488, 0.219512], abs=1e-5)
    for temperature, expected in ((8, [0.319245, 0.680755]), (4, [0.406459, 0.593541])):
        found = asymmetry(reliances, contributions, float(temperature))
        assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_the_floor_by_hand():
    # Shares .1 and .9: .3 and .9, so 1/h are 10/3 and 10/9 and r = .75, .25. Of three the floor is
    # .2: .1, .1, .8 become .2, .2, .8; 5, 5, 1.25; r = 4/9, 4/9, 1/9.
    assert reliance(of(0.1, 0.9)).tolist() == pytest.approx([0.75, 0.25])
    assert reliance(of(0.2, 0.2, 1.6)).tolist() == pytest.approx([4 / 9, 4 / 9, 1 / 9])


def test_weights_sum_to_one_follow_the_modalities_and_are_equal_for_equals():
    reliances, contributions = reliance(torch.rand(3)), shares(torch.rand(3))
    weights = asymmetry(reliances, contributions, 8.0)

    assert weights.sum().item() == pytest.approx(1)
    order = [2, 0, 1]
    moved = asymmetry(reliances[order], contributions[order], 8.0)
    torch.testing.assert_close(moved, weights[order])
    even = torch.full((3,), 1 / 3)
    torch.testing.assert_close(asymmetry(even, even, 8.0), even)
    torch.testing.assert_close(asymmetry(reliances, contributions, 0.0), even)


@pytest.mark.parametrize("values", [(0.0, 0.0), (1e-30, 1.0), (1e30, 1.0), (1.0, 0.0, 0.0)])
def test_weights_are_sound_at_extreme_scales(values):
    for temperature in (0.0, 8.0, 1e4):
        weights = asymmetry(reliance(of(*values)), shares(of(*values)), temperature)
        assert weights.isfinite().all()
        assert weights.sum().item() == pytest.approx(1)


# Training.


@EACH
def test_the_logits_of_a_modality_have_the_whole_bias(shards, tmp_path, modalities):
    with running(small(shards, modalities=modalities), tmp_path, ARL()) as run:
        head = run.model.fusion.head
        with torch.no_grad():
            head.bias.add_(torch.arange(len(head.bias)) + 1.0)
        batch = next(run.batches("val"))
        plain, out = run.model(batch), run.method.predict(run.model, batch)

        assert torch.equal(out.fused, plain.fused)
        for m in modalities:
            rest = head.bias * (1 - 1 / len(modalities))
            torch.testing.assert_close(out.logits[m], plain.logits[m] + rest)


@pytest.mark.parametrize("start", [0, 1])
@EACH
def test_a_step_enlarges_the_gradient_of_each_encoder(shards, tmp_path, modalities, start):
    method = ARL(start=start)
    with running(small(shards, modalities=modalities, optimizer=PLAIN), tmp_path, method) as run:
        batch = next(run.batches("train"))
        out = method.predict(run.model.train(), batch)
        own = {m: F.cross_entropy(u, batch.target) for m, u in out.logits.items()}
        loss = F.cross_entropy(out.fused, batch.target) + (1 if start else 4) * sum(own.values())
        weights = torch.full((len(modalities),), 1 / len(modalities))
        if not start:
            entropies = torch.stack([entropy(u).mean() for u in out.logits.values()])
            sizes = torch.stack([u.abs().sum() for u in out.logits.values()])
            weights = asymmetry(reliance(entropies), shares(sizes), 8.0)
        factor = {m: 1 + w.item() for m, w in zip(modalities, weights, strict=True)}
        gradients = run.gradients(loss, run.model)
        before = [p.detach().clone() for p in run.model.parameters()]
        method.step(run, batch)

        named = run.model.named_parameters()
        for (name, p), g, old in zip(named, gradients, before, strict=True):
            scale = factor[name.split(".")[1]] if name.startswith("encoders.") else 1
            expected = old - 0.1 * scale * g
            torch.testing.assert_close(p.detach(), expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("fusion", ["sum", "film", "gated"])
def test_any_fusion_will_do(shards, tmp_path, fusion):
    fitted(shards, tmp_path, ARL(start=0), fusion=fusion, modalities=THREE)

    (line,) = lines(tmp_path)
    logged = line["logged"]
    assert set(logged) == {f"{n}.{m}" for n in ("entropy", "contribution", "weight") for m in THREE}
    for name in ("contribution", "weight"):
        assert sum(logged[f"{name}.{m}"] for m in THREE) == pytest.approx(1, abs=1e-5)


def test_before_its_start_all_weigh_the_same(shards, tmp_path):
    fitted(shards, tmp_path, ARL(start=1), epochs=2)

    first, second = (line["logged"] for line in lines(tmp_path))
    assert first["weight.audio"] == first["weight.visual"] == 0.5
    assert second["weight.audio"] != second["weight.visual"]


def test_curricula_score_by_all_its_losses(shards, tmp_path):
    with running(small(shards), tmp_path, ARL(unimodal=2.0)) as run:
        names = ("fused", *run.model.modalities)

        def look(batch):
            out = run.method.predict(run.model, batch)
            return dict(zip(names, (out.fused, *out.logits.values()), strict=True))

        logits, target = run.score(look), run.score(lambda batch: batch.target)
        losses = {n: F.cross_entropy(z, target, reduction="none") for n, z in logits.items()}
        expected = losses["fused"] + 2 * (losses["audio"] + losses["visual"])
        torch.testing.assert_close(trained_losses(run), expected)


@pytest.mark.parametrize("name", ["unimodal", "temperature", "start"])
def test_wrong_options_are_refused(name):
    with pytest.raises(ConfigError, match=f"{name} is at least 0; got -1"):
        ARL(**{name: -1})
