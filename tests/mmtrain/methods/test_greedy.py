from functools import partial

import pytest
import torch

from mmtrain.errors import ConfigError
from mmtrain.methods.greedy import Greedy, gates_of, leaning, ratio, speed
from tests.mmtrain.training.test_resume import stopped_at
from tests.support.enginework import STEPS, lines, running, same, small

SETS = [("audio", "visual"), ("audio", "visual", "flow")]


def mixed(shards, **changes):
    return small(shards, **{"fusion": "mmtm", **changes})


def exchanges(run):
    return [*run.model.fusion.exchanges]


# Equations.


def test_speeds_and_their_ratio_by_hand():
    # Main: .05 / 5 and .08 / 5 sum to .026. Bypass: .1 / 2 and .02 / 2 sum to .06.
    # log10(.06 / .026) = .363178.
    def total(gradients, weights):
        parts = [speed([torch.tensor(g)], [torch.tensor(weights)]) for g in gradients]
        return torch.stack(parts).sum().item()

    main = total([[0.1, 0.2], [0.2, 0.2]], [1.0, 2.0])
    bypass = total([[0.3, 0.1], [0.1, 0.1]], [1.0, 1.0])

    assert (bypass, main) == (pytest.approx(0.06), pytest.approx(0.026))
    assert ratio(bypass, main) == pytest.approx(0.363178, abs=1e-6)
    assert ratio(main, bypass) == pytest.approx(-0.363178, abs=1e-6)


def test_tensors_count_together():
    parts = speed([torch.ones(2), torch.ones(3)], [torch.full((4,), 2.0), torch.ones(4)])
    assert parts.item() == pytest.approx(5 / 20)


def test_extreme_norms_give_finite_ratios():
    zero = torch.zeros(2)
    assert speed([zero], [zero]) == 0
    assert abs(ratio(0.0, 0.0)) == 0
    assert ratio(1e30, 0.0) == pytest.approx(60)


def test_who_leans_is_ahead_of_the_mean_of_the_others():
    assert leaning({"audio": 0.5, "visual": 0.48}, 0.01) == "audio"
    assert leaning({"audio": 0.48, "visual": 0.5}, 0.01) == "visual"
    assert leaning({"audio": 0.5, "visual": 0.495}, 0.01) is None
    assert leaning({"audio": 0.1, "visual": 0.2, "flow": 0.3}, 0.14) == "flow"
    assert leaning({"audio": 0.1, "visual": 0.2, "flow": 0.3}, 0.16) is None


# Gates.


def test_the_loss_is_of_the_streams_own_logits(shards, tmp_path):
    with running(mixed(shards), tmp_path, Greedy()) as run:
        batch = next(run.batches("train"))
        out = run.model(batch)
        heads = run.model.fusion.heads
        own = [run.task.losses(heads[m](x), batch.target) for m, x in out.features.items()]
        found = run.method.sample_losses(run.task, out, batch.target)
        torch.testing.assert_close(found, sum(own))
        streams = [heads[m](x) for m, x in out.features.items()]
        torch.testing.assert_close(out.fused, sum(streams) / 2)


def test_gates_equal_to_their_average_change_nothing(shards, tmp_path):
    with running(mixed(shards, batch_size=1), tmp_path, Greedy()) as run:
        run.model.eval()
        batch = next(run.batches("val"))
        with gates_of(exchanges(run), {}) as gates:
            plain = run.model(batch)
        assert len(gates) == 3
        replaced = {"audio": [level["audio"][0] for level in gates]}
        with gates_of(exchanges(run), replaced) as again:
            fixed = run.model(batch)
        torch.testing.assert_close(fixed.fused, plain.fused)
        assert torch.equal(again[0]["visual"], gates[0]["visual"])
        assert not any(exchange._forward_hooks for exchange in exchanges(run))


@pytest.mark.parametrize("modalities", SETS, ids="+".join)
def test_a_stream_that_is_cut_off_sees_nothing_of_the_others(shards, tmp_path, modalities):
    with running(mixed(shards, modalities=modalities), tmp_path, Greedy()) as run:
        run.model.eval()
        batch = next(run.batches("val"))
        other = batch.only(modalities[0])
        with gates_of(exchanges(run), {}) as gates:
            plain = [run.model(b).features for b in (batch, other)]
        replaced = {modalities[0]: [level[modalities[0]][0] for level in gates[:3]]}
        features = []
        for each in (batch, other):
            with gates_of(exchanges(run), replaced):
                features.append(run.model(each).features)

    first = modalities[0]
    assert not torch.equal(plain[0][first], plain[1][first])
    assert torch.equal(features[0][first], features[1][first])


@pytest.mark.parametrize("modalities", SETS, ids="+".join)
def test_averages_are_of_all_normal_steps(shards, tmp_path, modalities):
    method, seen = Greedy(), []
    with running(mixed(shards, modalities=modalities), tmp_path, method) as run:
        run.model.train()
        batches = [*run.batches("train")]
        for batch in batches[:3]:
            with gates_of(exchanges(run), {}) as gates, torch.no_grad():
                run.model(batch)
            seen.append([{m: g.mean(0) for m, g in level.items()} for level in gates])
            method.step(run, batch)
        before = {m: [a.clone() for a in own] for m, own in method.averages.items()}
        method.curated, method.left = modalities[-1], 1
        method.step(run, batches[3])

    for m in modalities:
        for level, average in enumerate(method.averages[m]):
            expected = torch.stack([step[level][m] for step in seen]).mean(0)
            torch.testing.assert_close(average, expected)
            assert torch.equal(average, before[m][level])


# Steps.


def test_speeds_are_of_the_streams_and_of_the_gates_between_them(shards, tmp_path):
    method = Greedy()
    with running(mixed(shards), tmp_path, method) as run:
        batch = next(run.batches("train"))
        run.model.train()
        loss = method.loss(run, run.model(batch), batch)
        named = [(n, p) for n, p in run.model.named_parameters()]
        gradients = dict(zip([n for n, _ in named], run.gradients(loss, run.model), strict=True))
        weights = {n: p.detach().clone() for n, p in named}
        method.step(run, batch)

    def of(*parts):
        names = [n for n in weights if any(part in n for part in parts)]
        return speed([gradients[n] for n in names], [weights[n] for n in names]).item()

    for m in SETS[0]:
        main = of(f"encoders.{m}.", f"fusion.heads.{m}.")
        assert method.main[m] == pytest.approx(main, rel=1e-4)
        assert method.bypass[m] == pytest.approx(of("squeeze", f"gates.{m}."), rel=1e-4)


def test_who_leans_is_cut_off_for_the_window_and_measured_again_after_it(shards, tmp_path):
    method, held = Greedy(tolerance=0.0, window=2), []
    step = method.step

    def watched(run, batch):
        held.append((method.curated if method.left else "", dict(method.bypass)))
        before = {n: p.clone() for n, p in run.model.named_parameters()}
        step(run, batch)
        if cut_off := held[-1][0]:
            assert held[-1][1] == method.bypass
            still = {n for n, p in run.model.named_parameters() if torch.equal(p, before[n])}
            assert still == {n for n in before if f"gates.{cut_off}." in n}

    method.step = watched
    with running(mixed(shards), tmp_path, method) as run:
        method.fit(run)

    # The last step of the first epoch decides nothing, the first of the second does.
    cut = [bool(modality) for modality, _ in held]
    assert cut == [False] * (STEPS + 1) + [True, True, False, True]
    logged = [line["logged"] for line in lines(tmp_path)]
    assert logged[0]["curated.audio"] + logged[0]["curated.visual"] == 0
    assert logged[1]["curated.audio"] + logged[1]["curated.visual"] == pytest.approx(3 / STEPS)


def test_it_is_resumed_while_someone_is_cut_off(shards, tmp_path):
    make = partial(Greedy, tolerance=0.0, window=2, start=0)
    for folder, steps in (("straight", ()), ("torn", (3, STEPS + 2))):
        method = stopped_at(steps, mixed(shards), tmp_path / folder, make)
    assert method.averaged < 2 * STEPS
    assert same(tmp_path / "straight", tmp_path / "torn")


@pytest.mark.parametrize("fusion", ["concat", "gated"])
def test_other_fusions_are_refused_by_name(shards, tmp_path, fusion):
    with (
        pytest.raises(ConfigError, match=f"gates of mmtm, and {fusion} has none"),
        running(small(shards, fusion=fusion), tmp_path, Greedy()),
    ):
        pass
