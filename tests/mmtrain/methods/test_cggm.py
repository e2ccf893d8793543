import pytest
import torch
from torch.nn import functional as F

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import ConfigError
from mmtrain.methods.cggm import CGGM, balances, direction_loss
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted

THREE = ("audio", "visual", "flow")
PLAIN = OptimizerConfig(lr=0.1, momentum=0, weight_decay=0)
EACH = pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])


def of(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_balances_by_hand():
    # (.02, .10) / .12; times rho = 1.3. Of three: (.05, .13, .12) / .15.
    assert balances(of(0.1, 0.02)).tolist() == pytest.approx([0.166667, 0.833333], abs=1e-5)
    scaled = 1.3 * balances(of(0.1, 0.02))
    assert scaled.tolist() == pytest.approx([0.216667, 1.083333], abs=1e-5)
    three = balances(of(0.1, 0.02, 0.03))
    assert three.tolist() == pytest.approx([0.333333, 0.866667, 0.8], abs=1e-5)


def test_balances_are_unbounded():
    # (-.04, .10) / .06, and (-.10, .10) / 1e-8; where nothing changes 1e-8 / 1e-8.
    assert balances(of(0.1, -0.04)).tolist() == pytest.approx([-0.666667, 1.666667], abs=1e-5)
    assert balances(of(0.1, -0.1)).tolist() == pytest.approx([-1e7, 1e7], rel=1e-5)
    assert balances(of(0, 0, 0)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("bounded", [True, False])
def test_they_are_kept_in_bounds_unless_asked_for(shards, tmp_path, bounded):
    method = CGGM(lam=0.0, bounded=bounded)
    with running(small(shards), tmp_path, method) as run:
        batch = next(run.batches("train"))
        out = run.model.train()(batch)
        right = [(u.argmax(-1) == batch.target).double().mean() for u in out.logits.values()]
        # As if one had gained .1, and the other had lost .04.
        method.accuracies = torch.stack(right) - of(0.1, -0.04)
        with run.update(method.loss(run, out, batch)):
            method.modulate(run, out, batch)

        expected = [0, 1.666667] if bounded else [-0.666667, 1.666667]
        assert method.balance.tolist() == pytest.approx(expected, abs=1e-5)


def test_balances_sum_to_all_but_one_and_follow_the_modalities():
    gains = torch.rand(4, dtype=torch.float64)
    assert balances(gains).sum().item() == pytest.approx(3, abs=1e-5)
    torch.testing.assert_close(balances(gains[[2, 0, 3, 1]]), balances(gains)[[2, 0, 3, 1]])
    assert balances(of(0.1, 0.1)).tolist() == pytest.approx([0.5, 0.5], abs=1e-6)


def test_the_loss_of_directions_by_hand():
    # (.166667 - .083333 + .833333 + .166667) / 2.
    found = direction_loss(of(0.166667, 0.833333), of(0.5, -0.2))
    assert found.item() == pytest.approx(0.541667, abs=2e-5)
    assert direction_loss(of(0.5, 0.5), of(1, 1)).item() == 0


@EACH
def test_a_step_scales_the_gradients_of_the_encoders(shards, tmp_path, modalities):
    config = small(shards, modalities=modalities, optimizer=PLAIN)
    with running(config, tmp_path, CGGM(rho=1.5, lam=0.3, rate=0.5)) as run:
        batch = next(run.batches("train"))
        out = run.model.train()(batch)
        right = torch.stack(
            [(u.argmax(-1) == batch.target).double().mean() for u in out.logits.values()]
        )
        # As if the last step had other accuracies.
        run.method.accuracies = right - torch.arange(1, len(modalities) + 1) / 10
        last = run.method.balance = torch.arange(1, len(modalities) + 1) / 4
        gains = right - run.method.accuracies
        expected = 1.5 * (gains.sum() - gains) / gains.sum()

        loss = F.cross_entropy(out.fused, batch.target)
        cosines = []
        for m in modalities:
            own = run.model.heads[m](out.features[m].detach())
            loss = loss + F.cross_entropy(own, batch.target)
            columns = run.model.fusion.head.weight[:, run.model.fusion.columns[m]]
            weight = run.model.heads[m].weight.detach()
            cosines.append(F.cosine_similarity(weight.flatten(), columns.flatten(), dim=0))
        loss = loss + 0.3 * (last - last * torch.stack(cosines)).mean()
        gradients = run.gradients(loss, run.model)
        before = [p.detach().clone() for p in run.model.parameters()]
        run.method.step(run, batch)

        factor = dict(zip(modalities, expected.tolist(), strict=True))
        named = run.model.named_parameters()
        for (name, p), g, old in zip(named, gradients, before, strict=True):
            kind, _, rest = name.partition(".")
            scale = {"encoders": factor.get(rest.split(".")[0]), "heads": 0.5}.get(kind, 1)
            torch.testing.assert_close(p.detach(), old - 0.1 * scale * g, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(run.method.accuracies, right)


def test_encoders_learn_nothing_of_the_classifiers(shards, tmp_path):
    with running(small(shards), tmp_path, CGGM(lam=0.0)) as run:
        batch = next(run.batches("train"))
        out = run.model(batch)
        fused = F.cross_entropy(out.fused, batch.target)
        both = run.method.loss(run, out, batch)
        for one, other in zip(
            run.gradients(both, run.model.encoders),
            run.gradients(fused, run.model.encoders),
            strict=True,
        ):
            torch.testing.assert_close(one, other)


def test_without_directions_any_fusion_will_do(shards, tmp_path):
    fitted(shards, tmp_path, CGGM(lam=0.0), fusion="film", modalities=THREE)

    logged = lines(tmp_path)[0]["logged"]
    assert {*logged} == {f"{n}.{m}" for n in ("accuracy", "balance") for m in THREE}
    assert all(0 <= logged[f"balance.{m}"] <= 2 for m in THREE)


def test_wrong_options_are_refused(shards, tmp_path):
    with pytest.raises(ConfigError, match="rho is above 0; got 0"):
        CGGM(rho=0)
    with (
        pytest.raises(ConfigError, match="need a fusion with a matrix"),
        running(small(shards, fusion="film"), tmp_path / "a", CGGM()),
    ):
        pass
    with (
        pytest.raises(ConfigError, match="two modalities or more"),
        running(small(shards, modalities=("audio",)), tmp_path / "b", CGGM()),
    ):
        pass
