from functools import partial

import pytest
import torch

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import ConfigError
from mmtrain.methods.reconboost import ReconBoost, Stage, boosting, disagreement, stage_of
from mmtrain.models.fusions.shared_head import SharedHead
from mmtrain.tasks.classification import Classification
from tests.mmtrain.training.test_resume import stopped_at
from tests.support.enginework import STEPS, lines, running, same, small

SETS = [("audio", "visual"), ("audio", "visual", "flow")]
SHORT = {"alone": 1, "together": 1}
TASK = Classification(3)
TARGET = torch.tensor([0])
OWN, OTHERS = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.5, 1.0, 0.0]])


# Equations.


def test_boosting_by_hand():
    # p = e / (e + 2) = .576117, -ln p = .551445. q = e^.5 / (e^.5 + e + 1) = .307196.
    # (5 - .307196) * .551445 / 3 = 4.692804 * .183815 = .862607.
    found = boosting(TASK, OWN, OTHERS, TARGET, (5.0, 1.0))

    assert found.item() == pytest.approx(0.862607, abs=1e-6)


def test_the_weight_is_on_the_gradient_and_none_flows_to_the_others():
    own, others = OWN.clone().requires_grad_(), OTHERS.clone().requires_grad_()
    boosting(TASK, own, others, TARGET, (5.0, 1.0)).sum().backward()

    # d CE / dz = p - onehot, times 4.692804 / 3.
    p = OWN.softmax(-1) - torch.tensor([[1.0, 0.0, 0.0]])
    torch.testing.assert_close(own.grad, 4.692804 / 3 * p)
    assert others.grad is None


def test_without_rivalry_it_is_a_scaled_cross_entropy():
    torch.manual_seed(0)
    own, others, target = torch.randn(6, 3), torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])

    found = boosting(TASK, own, others, target, (5.0, 0.0))

    torch.testing.assert_close(found, 5 / 3 * TASK.losses(own, target))


@pytest.mark.parametrize("scale", [1e-30, 1e4, 1e30])
def test_extreme_logits_give_finite_losses(scale):
    for sign in (-1, 1):
        found = boosting(TASK, sign * OWN, scale * sign * OTHERS, TARGET, (5.0, 1.0))
        assert 0 <= found.item() < 10
    assert 0 <= disagreement(scale * OWN, -scale * OTHERS).item() < 0.667


def test_disagreement_by_hand():
    # p = (.75, .25) and (.5, .5): the mean of .0625 twice.
    logits = torch.tensor([[3.0, 1.0]]).log().requires_grad_()
    before = torch.zeros(1, 2, requires_grad=True)

    found = disagreement(logits, before)
    found.sum().backward()

    assert found.item() == pytest.approx(0.0625)
    assert logits.grad.abs().sum() > 0
    assert before.grad is None
    assert disagreement(OWN, OWN + 3).item() == pytest.approx(0, abs=1e-12)


def test_stages_alternate():
    stages = [stage_of(epoch, 2, 1) for epoch in range(5)]

    assert stages == [
        Stage(0, alone=True, first=True),
        Stage(0, alone=True, first=False),
        Stage(0, alone=False, first=True),
        Stage(1, alone=True, first=True),
        Stage(1, alone=True, first=False),
    ]


# The ensemble.


@pytest.mark.parametrize("modalities", SETS, ids="+".join)
def test_the_scale_multiplies_the_sum_of_one_heads_logits(modalities):
    fusion = SharedHead(dict.fromkeys(modalities, 4), 3, scale=0.5)
    features = {m: torch.randn(2, 4) for m in modalities}

    fused = fusion(features)
    fused.sum().backward()

    logits = {m: fusion.head(x) for m, x in features.items()}
    torch.testing.assert_close(fused, 0.5 * sum(logits.values()))
    # The derivative by beta is the sum of what it multiplies.
    assert fusion.scale.grad.item() == pytest.approx(sum(logits.values()).sum().item(), abs=1e-5)
    assert torch.equal(sum(fusion.split(features).values()), fused)


def test_the_gradient_of_the_scale_by_hand():
    # Sum of logits (1.5, 1, 0) at beta 1: softmax (.546549, .331498, .121952), so that the
    # derivative of the cross-entropy is (-.453451 * 1.5 + .331498 * 1) = -.348679.
    fusion = SharedHead({"audio": 1, "visual": 1}, 3)
    logits = {"audio": OWN, "visual": OTHERS}
    fusion.own_logits = lambda feature: logits["audio" if feature.item() == 0 else "visual"]
    features = {"audio": torch.zeros(1, 1), "visual": torch.ones(1, 1)}

    TASK.losses(fusion(features), TARGET).sum().backward()

    assert fusion.scale.grad.item() == pytest.approx(-0.348679, abs=1e-5)


@pytest.mark.parametrize("modalities", SETS, ids="+".join)
def test_a_modality_joins_with_its_first_stage(shards, tmp_path, modalities):
    method = ReconBoost(**SHORT)
    with running(small(shards, modalities=modalities), tmp_path, method) as run:
        batch = next(run.batches("val"))
        run.model.eval()
        for joined in range(1, 1 + len(modalities)):
            method.joined = joined
            out = method.predict(run.model, batch)
            assert list(out.logits) == list(modalities)
            torch.testing.assert_close(out.fused, sum([*out.logits.values()][:joined]))


@pytest.mark.parametrize("pretrained", [False, True])
def test_who_is_trained_when(shards, tmp_path, pretrained):
    method, moved = ReconBoost(**SHORT, pretrained=pretrained), []
    step = method.step

    def watched(run, batch):
        before = {n: p.clone() for n, p in run.model.named_parameters()}
        step(run, batch)
        moved.append({n for n, p in run.model.named_parameters() if not torch.equal(p, before[n])})

    method.step = watched
    config = small(shards, modalities=SETS[1], epochs=4, batch_size=18)
    with running(config, tmp_path, method) as run:
        method.fit(run)
        names = {n for n, _ in run.model.named_parameters()}

    def of(*modalities):
        encoders = {n for n in names if n.startswith("encoders.")}
        own = {n for n in encoders if n.split(".")[1] in modalities}
        return own | {n for n in names if n.startswith("fusion.head")}

    both = set(SETS[1]) if pretrained else {"audio"}
    assert moved[0] == of("audio")
    assert moved[1] == of(*both) | {"fusion.scale"}
    assert moved[2] == of("visual")
    assert moved[3] == of(*both, "visual") | {"fusion.scale"}


def test_agreement_is_logged_from_the_second_stage_on_and_trains(shards, tmp_path):
    ends = []
    for assistance in (0.0, 0.5):
        folder = tmp_path / str(assistance)
        method = ReconBoost(**SHORT, assistance=assistance)
        with running(small(shards, epochs=3), folder, method) as run:
            method.fit(run)
            ends.append({n: v.clone() for n, v in run.model.state_dict().items()})
        logged = [line["logged"] for line in lines(folder)]
        assert ["boosting" in line for line in logged] == [True, False, True]
        assert ["assistance" in line for line in logged] == [False, False, True]

    differ = {n for n, v in ends[0].items() if not torch.equal(v, ends[1][n])}
    assert any(n.startswith("encoders.visual") for n in differ)
    assert not any(n.startswith("encoders.audio") for n in differ)


def test_momentum_starts_anew_in_each_half_of_a_stage(shards, tmp_path):
    method, known = ReconBoost(alone=2, together=1), []
    step = method.step

    def watched(run, batch):
        if not run.position or len(known) == run.epoch:
            known.append(bool(run.optimizer_state()))
        step(run, batch)

    method.step = watched
    with running(small(shards, epochs=4), tmp_path, method) as run:
        method.fit(run)
    assert known == [False, True, False, False]


def test_an_ensemble_that_grows_is_resumed(shards, tmp_path):
    optimizer = OptimizerConfig(lr=0.01, clip=1.0)
    config = small(shards, epochs=3, optimizer=optimizer)
    for folder, steps in (("straight", ()), ("torn", (2, STEPS + 1, 2 * STEPS + 2))):
        method = stopped_at(steps, config, tmp_path / folder, partial(ReconBoost, **SHORT))

    assert method.joined == 2
    assert same(tmp_path / "straight", tmp_path / "torn")


def test_what_does_not_fit_is_refused(shards, tmp_path):
    with pytest.raises(ConfigError, match=r"rivalry is at most weight, 1, .*; got 2"):
        ReconBoost(weight=1.0, rivalry=2.0)
    with pytest.raises(ConfigError, match="equally wide features; got audio 4, visual 8"):
        SharedHead({"audio": 4, "visual": 8}, 3)
