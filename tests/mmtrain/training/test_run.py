"""The interface of a run, as methods use it."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmtrain.config.run import OptimizerConfig
from mmtrain.data import open_dataset
from mmtrain.methods import multitask
from mmtrain.methods.base import Method, Run
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import CHECKPOINT
from tests.support.enginework import STEPS, first, lines, loss_of, running, small, snapshot


@pytest.fixture
def run(shards, tmp_path):
    plain = OptimizerConfig(lr=0.1, momentum=0, weight_decay=0)
    with running(small(shards, optimizer=plain, epochs=1), tmp_path) as run:
        yield run


def test_the_engine_carries_out_what_methods_see(run):
    assert isinstance(run, Run)


def test_an_update_subtracts_the_gradient_times_the_rate(run):
    batch = first(run)
    head = run.model.fusion.head
    before, bias = head.weight.clone(), head.bias.clone()
    expected = run.gradients(loss_of(run, batch), head)

    run.minimise(loss_of(run, batch))

    assert torch.allclose(head.weight, before - 0.1 * expected[0])
    assert torch.allclose(head.bias, bias - 0.1 * expected[1])


def test_the_body_edits_gradients(run):
    batch, before = first(run), snapshot(run)

    with run.update(loss_of(run, batch)):
        assert not torch.is_grad_enabled()
        assert any(g.abs().sum() > 0 for g in run.model.gradients("audio"))
        for gradient in run.model.gradients("audio"):
            gradient.mul_(0)

    after = run.model.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert not any(name.startswith("encoders.audio") for name in moved)
    assert any(name.startswith("encoders.visual") for name in moved)
    assert torch.is_grad_enabled()


def test_what_the_loss_does_not_reach_stays(shards, tmp_path):
    decaying = OptimizerConfig(lr=0.1, momentum=0.9, weight_decay=0.1)
    with running(small(shards, optimizer=decaying), tmp_path) as run:
        run.minimise(loss_of(run, first(run)))
        before = snapshot(run)
        features = run.model.encode(first(run))

        run.minimise(features["audio"].square().mean())

        for name, value in run.model.state_dict().items():
            assert torch.equal(value, before[name]) != name.startswith("encoders.audio"), name


def test_an_error_in_the_body_leaves_the_weights(run):
    before = snapshot(run)

    with pytest.raises(KeyError), run.update(loss_of(run, first(run))):
        raise KeyError

    assert all(torch.equal(v, before[n]) for n, v in run.model.state_dict().items())


def test_gradients_are_for_looking_only(run):
    run.model.zero_grad()
    out = run.model(first(run))
    loss = out.logits["audio"].sum()

    audio = run.gradients(loss, run.model.encoders["audio"])
    visual = run.gradients(loss, run.model.encoders["visual"])

    assert any(g.abs().sum() > 0 for g in audio)
    assert all(g.abs().sum() == 0 for g in visual)
    assert all(p.grad is None for p in run.model.parameters())


def test_clipping_limits_the_norm_of_all_gradients(shards, tmp_path):
    clipped = OptimizerConfig(lr=1.0, momentum=0, weight_decay=0, clip=0.01)
    with running(small(shards, optimizer=clipped), tmp_path) as run:
        before = snapshot(run)
        run.minimise(100 * loss_of(run, first(run)))
        moved = [(v - before[n]).square().sum() for n, v in run.model.state_dict().items()]
        assert torch.stack(moved).sum().sqrt().item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_second_forward_in_a_step_sees_weights_that_were_moved(shards, tmp_path, precision):
    @dataclass(kw_only=True, eq=False)
    class Perturbed(Method):
        def step(self, run, batch):
            encoder = run.model.encoders["audio"]
            here = run.model(batch).features["audio"].detach()
            with torch.no_grad():
                for parameter in encoder.parameters():
                    parameter.mul_(1.5)
            there = run.model(batch)
            assert not torch.allclose(here, there.features["audio"])
            with run.update(F.cross_entropy(there.fused, batch.target)):
                for parameter in encoder.parameters():
                    parameter.div_(1.5)

    method = Perturbed()
    with running(small(shards, precision=precision, epochs=1), tmp_path, method) as run:
        method.fit(run)
        assert run.steps == STEPS


def test_a_module_that_joins_is_updated_and_the_others_keep_their_momentum(shards, tmp_path):
    with running(small(shards), tmp_path) as run:
        run.minimise(loss_of(run, first(run)))
        before = {n: s["momentum_buffer"].clone() for n, s in run.optimizer_state().items()}

        run.model.heads["audio"] = nn.Linear(64, 3)
        run.adopt(run.model.heads["audio"])
        run.adopt(run.model.heads["audio"])

        after = run.optimizer_state()
        assert all(torch.equal(after[n]["momentum_buffer"], b) for n, b in before.items())
        assert len(run.rates()) == len([*run.model.parameters()])
        weight = run.model.heads["audio"].weight.clone()
        run.minimise(run.model(first(run)).logits["audio"].square().mean())
        assert not torch.equal(run.model.heads["audio"].weight, weight)
        assert "heads.audio.weight" in run.optimizer_state()


def test_a_module_outside_the_model_cannot_join(run):
    with pytest.raises(ValueError, match=r"must be part of run\.model"):
        run.adopt(nn.Linear(2, 2))


def test_renewing_forgets_momentum_of_these_modules_only(shards, tmp_path):
    with running(small(shards), tmp_path) as run:
        run.minimise(loss_of(run, first(run)))

        run.renew_optimizer(run.model.encoders["audio"])

        names = run.optimizer_state()
        assert not any(name.startswith("encoders.audio") for name in names)
        assert any(name.startswith("encoders.visual") for name in names)
        run.renew_optimizer()
        assert not run.optimizer_state()


def test_scores_are_in_the_order_of_ids_and_without_gradients(run):
    run.model.train()

    def look(batch):
        assert not run.model.training
        assert not torch.is_grad_enabled()
        return torch.stack([batch.ids, batch.target], 1)

    found = run.score(look)

    assert run.model.training
    with open_dataset(run.config.data) as dataset:
        assert np.array_equal(found[:, 0], dataset.ids("train"))
        assert np.array_equal(found[:, 1], dataset.targets[dataset.ids("train")])


def test_steps_see_real_samples_only_and_each_once(shards, tmp_path):
    seen = []

    @dataclass(kw_only=True, eq=False)
    class Looking(Method):
        def step(self, run, batch):
            assert not batch.filler.any()
            seen.append(batch.ids.tolist())
            super().step(run, batch)

    method = Looking()
    with running(small(shards, epochs=1), tmp_path, method) as run:
        method.fit(run)
        assert [len(ids) for ids in seen] == [4, 4, 4, 4, 2]
        assert sorted(i for ids in seen for i in ids) == run.feed.dataset.ids("train").tolist()


def test_what_is_logged_is_averaged_over_the_epoch(shards, tmp_path):
    @dataclass(kw_only=True, eq=False)
    class Logging(Method):
        def modulate(self, run, out, batch):
            run.log(position=run.position, half=torch.tensor(0.5))

    method = Logging()
    with running(small(shards, epochs=1), tmp_path, method) as run:
        method.fit(run)
    assert lines(tmp_path)[0]["logged"] == {"position": (4 + 8 + 12 + 16 + 18) / 5, "half": 0.5}


def test_an_epoch_is_trained_once(run):
    next(run.epochs())
    run.train_epoch(run.method)
    with pytest.raises(RuntimeError, match="twice"):
        run.train_epoch(run.method)


def test_multitask_with_weight_0_on_its_heads_is_joint(shards, tmp_path):
    one, other = multitask.Multitask(unimodal=0.0), Method()
    for name, method in (("multitask", one), ("joint", other)):
        with running(small(shards, epochs=1), tmp_path / name, method) as run:
            method.fit(run)
    mine = checkpoint.load(tmp_path / "multitask" / CHECKPOINT)["model"]
    theirs = checkpoint.load(tmp_path / "joint" / CHECKPOINT)["model"]
    assert {n for n in mine if n not in theirs} == {
        f"heads.{m}.{part}" for m in ("audio", "visual") for part in ("weight", "bias")
    }
    assert all(torch.equal(mine[name], value) for name, value in theirs.items())


def test_multitask_loss_by_hand(run):
    # Three classes, logits all 0: each cross-entropy is ln 3.
    batch = first(run)
    zeros = torch.zeros(4, 3)
    out = run.model(batch)
    out = type(out)(fused=zeros, logits=dict.fromkeys(out.logits, zeros), features=out.features)

    loss = multitask.Multitask(fused=0.1, unimodal=0.9).loss(run, out, batch)

    assert loss.item() == pytest.approx((0.1 + 2 * 0.9) * np.log(3))


def test_scores_of_some_samples_come_by_name_in_the_order_asked_for(run):
    ids = run.ids[[5, 2, 9]]

    scored = run.score(
        lambda b: {"id": b.ids, "feature": run.model.feature("audio", b), "odd": b.ids % 2 == 1},
        ids=ids,
    )

    assert [*scored] == ["id", "feature", "odd"]
    assert scored["id"].tolist() == ids.tolist()
    assert scored["id"].dtype == scored["odd"].dtype == torch.int64
    assert scored["feature"].shape == (3, 64)
    assert scored["feature"].dtype == torch.float32
    assert scored["odd"].tolist() == (ids % 2).tolist()
    assert run.score(lambda b: b.ids, ids=torch.from_numpy(ids)).tolist() == ids.tolist()
    for wrong in (ids[:0], ids[[0, 0]]):
        with pytest.raises(ValueError, match="distinct samples"):
            run.score(lambda b: b.target, ids=wrong)


def test_measures_of_the_last_evaluation_are_known_without_another(shards, tmp_path):
    @dataclass(kw_only=True, eq=False)
    class Looking(Method):
        def fit(self, run):
            for epoch in run.epochs():
                seen[epoch] = run.measured("val")
                run.train_epoch(self)

    seen, config = {}, small(shards, epochs=3)
    with running(small(shards, epochs=2), tmp_path, Looking()) as run:
        run.method.fit(run)
    with running(config, tmp_path, Looking()) as run:
        run.method.fit(run)

    written = lines(tmp_path)
    assert seen == {0: None, 1: written[0]["val"], 2: written[1]["val"]}
    assert run.measured("val") == written[2]["val"]
    assert run.measured("test") is None


def test_the_discrepancy_on_val_is_that_of_summed_confidences(run):
    measures = run.evaluate("val")

    own = {m: run.score(lambda b, m=m: run.model(b).logits[m], "val") for m in ("audio", "visual")}
    target = run.score(lambda b: b.target, "val")
    sums = {m: logits.softmax(-1)[range(len(target)), target].sum() for m, logits in own.items()}
    assert measures["rho.audio"] == pytest.approx((sums["audio"] / sums["visual"]).item())
    assert measures["rho.visual"] == pytest.approx(1 / measures["rho.audio"])


def test_a_pass_in_eval_mode_within_a_step_keeps_its_gradients(run):
    run.model.train()
    with run.evaluating():
        assert not run.model.training
        loss = loss_of(run, first(run))
    assert run.model.training
    assert any(g.abs().sum() > 0 for g in run.gradients(loss, run.model))


def test_a_parameter_outside_the_model_cannot_join(run):
    with pytest.raises(ValueError, match=r"must be part of run\.model"):
        run.adopt(nn.Parameter(torch.zeros(2)))
