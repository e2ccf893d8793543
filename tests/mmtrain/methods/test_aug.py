import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from mmtrain.config.run import OptimizerConfig, ViewConfig
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.methods.aug import AUG, boosting_losses, fused_weights, weakest
from mmtrain.models.fusions.boosted import Boosted
from mmtrain.tasks.classification import Classification
from tests.mmtrain.training.test_damaged import config_of, damaged_copy
from tests.mmtrain.training.test_resume import stopped_at
from tests.support.enginework import STEPS, lines, running, same, small

SETS = [("audio", "visual"), ("audio", "visual", "flow")]
# So small a sigma that the weakest gets a classifier at every check.
EAGER = {"interval": 1, "sigma": 1e-6, "tau": 0.0}
TARGET = torch.tensor([0])
TASK = Classification(3)
LOGITS = [torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[0.5, 0.2, 0.0]])]


def layers(run, modality):
    return run.model.fusion.layers[modality]


def size(run):
    return sum(p.numel() for p in run.model.parameters())


# The loss.


def test_boosting_by_hand():
    # q = e / (e + 1 + 1/e) = .66524, and CE(z_1) = -ln q = .40761. CE(z_2) = .85306, whose weight
    # is 1 - .5 q = .66738: .56932... with rounding .56947. CE(z_1 + z_2) = .30352.
    parts = 0.56947 + 0.30352 + 0.40761

    assert boosting_losses(TASK, LOGITS, TARGET, 0.5).item() == pytest.approx(parts, abs=2e-5)
    assert boosting_losses(TASK, LOGITS, TARGET, 0.5).item() == pytest.approx(1.28059, abs=2e-5)


def test_the_first_term_is_a_cross_entropy_with_the_residual_label():
    before, newest = (torch.randn(6, 4) for _ in range(2))
    target = torch.tensor([0, 1, 2, 3, 0, 1])
    hot = F.one_hot(target, 4).float()

    found = boosting_losses(TASK, [before, newest], target, 0.3)

    rest = F.cross_entropy(before + newest, target, reduction="none") + F.cross_entropy(
        before, target, reduction="none"
    )
    label = hot - 0.3 * hot * before.softmax(-1)
    torch.testing.assert_close(found, F.cross_entropy(newest, label, reduction="none") + rest)


def test_one_classifier_has_one_cross_entropy():
    assert boosting_losses(TASK, LOGITS[:1], TARGET, 0.5).item() == pytest.approx(0.40761, abs=1e-5)


def test_softening_weighs_the_newest_and_sends_no_gradient_to_those_before():
    def gradients(softening):
        logits = [z.clone().requires_grad_() for z in (*LOGITS, torch.tensor([[0.0, 0.4, 0.1]]))]
        boosting_losses(TASK, logits, TARGET, softening).sum().backward()
        return [z.grad for z in logits]

    hard, soft = gradients(0.0), gradients(1.0)

    assert torch.equal(hard[0], soft[0])
    assert torch.equal(hard[1], soft[1])
    assert not torch.allclose(hard[2], soft[2])


def test_of_many_classifiers_the_sums_count():
    torch.manual_seed(0)
    logits = [torch.randn(3, 5) for _ in range(4)]
    target = torch.tensor([4, 0, 2])

    found = boosting_losses(TASK, logits, target, 0.5)

    torch.testing.assert_close(
        found, boosting_losses(TASK, [sum(logits[:3]), logits[3]], target, 0.5)
    )


# Who gets a classifier.


@pytest.mark.parametrize(
    ("audio", "visual", "rule", "expected"),
    [
        (0.62, 0.35, "difference", "visual"),
        (0.50, 0.495, "difference", None),
        (0.40, 0.55, "difference", "audio"),
        (0.50, 0.495, "ratio", "visual"),  # 1.0101
        (0.50, 0.496, "ratio", None),  # 1.0081
        (0.50, 0.0, "ratio", "visual"),
        (0.0, 0.0, "ratio", None),
    ],
)
def test_the_weaker_gets_a_classifier(audio, visual, rule, expected):
    other = {"audio": "visual", "visual": "audio", None: None}[expected]

    assert weakest({"audio": audio, "visual": visual}, 1.0, 0.01, rule) == expected
    assert weakest({"audio": visual, "visual": audio}, 1.0, 0.01, rule) == other


def test_of_three_the_weakest_is_compared_with_the_strongest():
    scores = {"audio": 0.6, "visual": 0.3, "flow": 0.5}

    assert weakest(scores, 1.0, 0.01) == "visual"
    assert weakest(scores, 1.0, 0.31) is None
    assert weakest(scores, 2.0, 0.01) is None
    assert weakest({"audio": 0.5}, 0.5, 0.01) is None


# What the model says.


def test_fused_logits_are_weighted_sums():
    # .4 * (2, 1, 0) + .6 * (0, 3, 0) = (.8, 2.2, 0).
    fusion = Boosted(
        {"audio": 2, "visual": 2}, 3, fused_weights("visual=0.6, audio=0.4", SETS[0]), 0
    )
    said = {"audio": [[2.0, 1.0, 0.0]], "visual": [[0.0, 2.0, 0.0], [0.0, 1.0, 0.0]]}
    fusion.classifier_logits = lambda modality, feature: [torch.tensor([z]) for z in said[modality]]

    features = {m: torch.zeros(1, 2) for m in said}

    torch.testing.assert_close(fusion(features), torch.tensor([[0.8, 2.2, 0.0]]))
    own = fusion.split(features)
    assert own["audio"].tolist() == [[2, 1, 0]]
    assert own["visual"].tolist() == [[0, 3, 0]]


def test_measures_of_a_modality_are_of_its_own_logits(shards, tmp_path):
    # Weights change the fused prediction only: before, so small a weight gave each modality alone
    # the loss of a uniform guess.
    method = AUG(weights="audio=0.001,visual=0.001")
    with running(small(shards, epochs=1), tmp_path, method) as run:
        method.fit(run)
        logits = run.score(lambda b: run.model(b).logits["audio"], "val")
        target = run.score(lambda b: b.target, "val").long()
        measured = run.measured("val")["modalities"]["audio"]["loss"]
        assert measured == pytest.approx(F.cross_entropy(logits, target).item(), rel=1e-5)
        classifier = run.score(
            lambda b: sum(
                run.model.fusion.classifier_logits("audio", run.model.feature("audio", b))
            ),
            "val",
        )
        assert measured == pytest.approx(F.cross_entropy(classifier, target).item(), rel=1e-5)


def test_one_classifier_each_is_a_layer_of_its_own_and_a_head_that_all_share(shards, tmp_path):
    with running(small(shards), tmp_path, AUG()) as run:
        out = run.model(next(run.batches("train")))
        fusion = run.model.fusion
        for modality, feature in out.features.items():
            own = fusion.head(layers(run, modality)[0](feature).relu())
            torch.testing.assert_close(out.logits[modality], own)
        assert torch.equal(out.fused, 0.5 * out.logits["audio"] + 0.5 * out.logits["visual"])


# Growth.


@pytest.mark.parametrize("modalities", SETS, ids="+".join)
def test_an_added_classifier_joins_the_optimizer_and_is_trained(shards, tmp_path, modalities):
    method = AUG(**EAGER)
    with running(small(shards, modalities=modalities), tmp_path, method) as run:
        batch = next(run.batches("train"))
        method.scores = torch.arange(1.0, 1 + len(modalities)).flip(0)  # The last is the weakest.
        weak = modalities[-1]
        features = run.model.encode(batch)
        before, count = run.model.fusion.classifier_logits(weak, features[weak]), size(run)
        old = {n: v.clone() for n, v in run.model.state_dict().items()}
        run.minimise(run.model.fusion(features).square().mean())
        run.model.load_state_dict(old)
        momentum = run.optimizer_state()

        method.assign(run)

        assert size(run) - count == 64 * 256 + 256
        assert method.counts == {m: 1 + (m == weak) for m in modalities}
        assert all(torch.equal(run.model.state_dict()[n], v) for n, v in old.items())
        assert torch.equal(run.model.fusion.classifier_logits(weak, features[weak])[0], before[0])
        assert all(run.optimizer_state()[n] == momentum[n] for n in momentum)
        new = layers(run, weak)[1]
        assert not torch.equal(new.weight, layers(run, weak)[0].weight)
        assert new.bias.abs().sum() == 0
        start = {n: p.clone() for n, p in new.named_parameters()}

        method.step(run, batch)

        assert all(not torch.equal(p, start[n]) for n, p in new.named_parameters())
        assert f"fusion.layers.{weak}.1.weight" in run.optimizer_state()


def test_frozen_classifiers_stay_while_all_else_moves(shards, tmp_path):
    method = AUG(**EAGER, freeze_added=True)
    with running(small(shards), tmp_path, method) as run:
        method.scores = torch.tensor([1.0, 0.5])
        method.assign(run)
        old = {n: p.clone() for n, p in run.model.named_parameters()}
        method.step(run, next(run.batches("train")))
        still = {n for n, p in run.model.named_parameters() if torch.equal(p, old[n])}
        assert still == {f"fusion.layers.visual.1.{part}" for part in ("weight", "bias")}


def test_classifiers_come_after_the_first_epoch_and_then_every_so_often(shards, tmp_path):
    method = AUG(**{**EAGER, "interval": 3}, max_classifiers=3)
    with running(small(shards, epochs=5, batch_size=9), tmp_path, method) as run:
        method.fit(run)

    logged = [line["logged"] for line in lines(tmp_path)]
    total = [line["classifiers.audio"] + line["classifiers.visual"] for line in logged]
    assert total == [2, 3, 3, 4, 4]
    assert sum(method.counts.values()) == 4
    assert all(0 < line[f"score.{m}"] < 1 for line in logged for m in method.counts)


def test_the_score_is_the_mean_confidence_of_the_epoch(shards, tmp_path):
    # At a rate next to 0, and without chance in views, a look afterwards sees what training saw.
    still = OptimizerConfig(lr=1e-12, momentum=0, weight_decay=0)
    view = ViewConfig(frames=2, size=32, crop="resize", flip=False)
    method = AUG()
    with running(small(shards, epochs=1, optimizer=still, view=view), tmp_path, method) as run:
        method.fit(run)
        out = run.score(lambda b: torch.stack([*run.model(b).logits.values()], 1))
        target = run.score(lambda b: b.target).long()
        sure = out.softmax(-1)[torch.arange(len(target)), :, target].mean(0)
        torch.testing.assert_close(method.scores, sure, rtol=1e-4, atol=1e-5)


def test_the_score_is_of_the_visits_that_were_made(shards, tmp_path):
    # Five of 18 visits are to damaged samples. Without training the mean confidence is that of the
    # others; over all visits it would be 13 / 18 of it.
    still = OptimizerConfig(lr=1e-12, momentum=0, weight_decay=0)
    view = ViewConfig(frames=2, size=32, crop="resize", flip=False)
    damaged = damaged_copy(shards, tmp_path / "shards", (4, 5, 8, 16, 17))
    method = AUG()
    config = config_of(damaged, batch_size=2, optimizer=still, view=view)
    with running(config, tmp_path / "run", method) as run:
        method.fit(run)
        confidence = run.score(
            lambda b: torch.stack(
                [run.task.confidence(z, b.target) for z in run.model(b).logits.values()], 1
            )
        )
    made = ~confidence.isnan().any(1)
    assert made.sum() == method.visits == 13
    torch.testing.assert_close(method.scores, confidence[made].mean(0), rtol=1e-4, atol=1e-5)


def test_a_state_without_visits_is_read():
    method = AUG()
    method.load_state_dict({"counts": {"audio": 2}, "scores": torch.tensor([0.5])})
    assert (method.counts, method.visits) == ({"audio": 2}, 0)


def test_no_more_than_the_most_classifiers(shards, tmp_path):
    method = AUG(**EAGER, max_classifiers=2)
    with running(small(shards), tmp_path, method) as run:
        for scores in ([0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]):
            method.scores = torch.tensor(scores)
            method.assign(run)
        assert method.counts == {"audio": 2, "visual": 2}
        assert len(layers(run, "visual")) == 2


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_grown_classifiers_are_resumed(shards, tmp_path, name):
    config = small(shards, epochs=3, optimizer=OptimizerConfig(name=name, lr=0.01, clip=1.0))
    # Before and behind each addition, which come between epochs.
    for folder, steps in (("straight", ()), ("torn", (STEPS, STEPS + 1, 2 * STEPS + 2))):
        grown = stopped_at(steps, config, tmp_path / folder, partial(AUG, **EAGER))

    assert sum(grown.counts.values()) == 4
    assert same(tmp_path / "straight", tmp_path / "torn")


# Turns.


def test_each_modality_has_an_update_of_its_own(shards, tmp_path, monkeypatch):
    method = AUG()
    with running(small(shards), tmp_path, method) as run:
        batch, moved = next(run.batches("train")), []
        minimise = run.minimise

        def watched(loss):
            old = {n: p.clone() for n, p in run.model.named_parameters()}
            minimise(loss)
            moved.append({n for n, p in run.model.named_parameters() if not torch.equal(p, old[n])})

        monkeypatch.setattr(run, "minimise", watched)
        method.step(run, batch)
        method.alternate = False
        method.step(run, batch)

    audio, visual, together = moved
    assert audio & visual == {"fusion.head.weight", "fusion.head.bias"}
    assert not any("visual" in name for name in audio)
    assert not any("audio" in name for name in visual)
    assert together == audio | visual


# Requests.


def test_what_aug_cannot_do_is_said(shards, tmp_path):
    with pytest.raises(UnknownName, match="difference, ratio"):
        AUG(rule="sum")
    for wrong in ({"interval": 0}, {"softening": 1.5}, {"sigma": 0.0}, {"tau": -0.1}):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is .*; got"):
            AUG(**wrong)
    for text in ("audio=1", "audio=1,visual", "audio=0.4,visual=x", "audio=1,visual=0"):
        with pytest.raises(ConfigError, match=r"such as audio=0\.5,visual=0\.5"):
            fused_weights(text, SETS[0])
    assert fused_weights("", SETS[1]) == dict.fromkeys(SETS[1], pytest.approx(1 / 3))
    assert math.isclose(sum(fused_weights("audio=0.4,visual=0.6", SETS[0]).values()), 1)
