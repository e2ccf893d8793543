"""BSS: the equations by hand, the orders by what they promise."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from mmtrain.curricula.balance import balance_score, head_gradient_norm
from mmtrain.curricula.bss import BSSH, BSSL, draw_order, pacing, probabilities
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.methods.multitask import Multitask
from mmtrain.tasks.classification import Classification
from mmtrain.types import Batch, Outputs

# Four samples, three classes: probabilities of audio, of visual, fused; true classes.
AUDIO = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]
VISUAL = [[0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.3, 0.4, 0.3]]
FUSED = [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.6, 0.2, 0.2], [0.2, 0.3, 0.5]]
TARGET = [0, 1, 0, 2]
TASK = Classification(3)
SCORE = np.array([0.9718, -1.0, 0.4830, -0.1982], np.float32)


class Scorer:
    """A run of ten thousand samples or so, without the run."""

    model = method = task = None

    def __init__(self, facts, seed=0):
        self.seed, self.epoch, self.passes = seed, 0, 0
        self.ids = np.arange(100, 100 + len(facts["loss"]))
        self.facts = facts

    def score(self, fn, split="train", ids=None):
        assert np.array_equal(ids, self.ids)
        self.passes += 1
        return {name: torch.from_numpy(values) for name, values in self.facts.items()}

    def order(self, curriculum, epoch):
        self.epoch = epoch
        return curriculum.order(self)


def facts_of(similarity, loss):
    return {"similarity": np.float32(similarity), "loss": np.float32(loss)}


def facts_at_random(n, seed=0):
    generator = np.random.default_rng(seed)
    return facts_of(generator.random(n, dtype=np.float32), generator.exponential(size=n))


def facts_by_hand():
    logits = {"audio": torch.tensor(AUDIO).log(), "visual": torch.tensor(VISUAL).log()}
    out = Outputs(fused=torch.tensor(FUSED).log(), logits=logits, features={})
    batch = replace(Batch.unlabelled(logits), target=torch.tensor(TARGET))
    facts = BSSL().facts(out, batch, Multitask(), TASK)
    return {name: values.numpy() for name, values in facts.items()}


def test_the_score_by_hand():
    # Sample 0: cos = (.42 + .06 + .01) / (.7348 * .6782) = .9832, loss = -ln .7 - ln .7 - ln .6 =
    # 1.2242. Sample 1 is last in both, sample 2 agrees wholly.
    facts = facts_by_hand()

    assert facts["similarity"] == pytest.approx([0.9832, 0.4020, 1.0, 0.8273], abs=1e-4)
    assert facts["loss"] == pytest.approx([1.2242, 2.5257, 1.8971, 2.4079], abs=1e-4)
    # (.9832 - .4020) / .5980 - 0 = .9718; 0 - 1; 1 - (1.8971 - 1.2242) / 1.3015 = .4830.
    assert balance_score(facts) == pytest.approx(SCORE, abs=1e-4)


def test_the_score_knows_neither_unit_nor_origin_of_the_loss():
    facts = facts_at_random(50)
    scaled = facts_of(facts["similarity"], 3 * facts["loss"] + 7)
    assert balance_score(scaled) == pytest.approx(balance_score(facts), abs=1e-6)


@pytest.mark.parametrize("constant", ["similarity", "loss"])
def test_a_constant_term_is_nothing(constant):
    facts = facts_at_random(5) | {constant: np.full(5, 0.3, np.float32)}
    other = facts["loss"] if constant == "similarity" else facts["similarity"]
    ranged = (other - other.min()) / (other.max() - other.min())
    expected = -ranged if constant == "similarity" else ranged
    assert balance_score(facts) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("criteria", "names", "score"),
    [
        ("presim,loss", ("similarity", "loss"), [1, -0.4, -0.5]),
        ("loss, presim", ("similarity", "loss"), [1, -0.4, -0.5]),
        ("presim", ("similarity",), [1, 0, 0.5]),
        ("loss", ("loss",), [0, -0.4, -1]),
    ],
)
def test_scores_by_one_criterion_and_by_both(criteria, names, score):
    # Scaled to [0, 1]: similarity (.9, .5, .7) is (1, 0, .5), loss (.2, 1, 2.2) is (0, .4, 1).
    facts = facts_of([0.9, 0.5, 0.7], [0.2, 1.0, 2.2])
    curriculum = BSSL(criteria=criteria)

    assert curriculum.memory.columns == names
    found = balance_score({name: facts[name] for name in names})
    assert found == pytest.approx(score, abs=1e-6)
    assert found.dtype == np.float32


def outputs(features=None):
    """Three classes and logits (2, 0, -1) of a sample whose class is 0."""
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    features = features or {"audio": torch.tensor([[1.0]]), "visual": torch.tensor([[2.0]])}
    return Outputs(fused=logits, logits=dict.fromkeys(features, logits / 2), features=features)


def test_the_gradient_of_the_head_by_hand():
    # p - e_y = (-.156204, .114195, .042010), whose norm is .198003; times sqrt(1 + 4 + 1).
    with torch.no_grad():
        found = head_gradient_norm(TASK, outputs(), torch.tensor([0]))

    assert found.tolist() == pytest.approx([0.485008], abs=1e-6)
    # The same by a backward pass through a linear layer on (1, 2).
    layer = torch.nn.Linear(2, 3)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([2.0, 0.0, -1.0]) - layer.weight @ torch.tensor([1.0, 2.0]))
    loss = TASK.losses(layer(torch.tensor([[1.0, 2.0]])), torch.tensor([0])).sum()
    gradients = torch.autograd.grad(loss, [layer.weight, layer.bias])
    assert torch.cat([g.flatten() for g in gradients]).norm().item() == pytest.approx(0.485008)


def test_facts_of_features_and_of_gradients():
    features = {"audio": torch.tensor([[3.0, 4.0]]), "visual": torch.tensor([[4.0, 3.0]])}
    batch = Batch.unlabelled(features)
    facts = BSSH(criteria="features,gradient").facts(outputs(features), batch, Multitask(), TASK)

    assert list(facts) == ["features", "gradient"]
    assert facts["features"].item() == pytest.approx(0.96)
    assert facts["gradient"].item() == pytest.approx(0.198003 * math.sqrt(51), abs=1e-5)
    wide = {"audio": torch.zeros(1, 2), "visual": torch.zeros(1, 3)}
    with pytest.raises(ConfigError, match="vectors of one width"):
        BSSH(criteria="features").facts(outputs(wide), batch, Multitask(), TASK)


def test_without_criteria_the_pace_stays_and_the_share_is_random():
    run, curriculum = Scorer(facts_at_random(1000)), BSSH(criteria="none")
    first, second = (run.order(curriculum, epoch).ids for epoch in (0, 1))

    assert run.passes == 0
    assert [len(first), len(second)] == [int(1000 * pacing(t, 0.1, 40)) for t in (1, 2)]
    assert not set(first.tolist()) <= set(second.tolist())
    assert sorted(run.order(BSSL(criteria="none"), 0).ids.tolist()) == run.ids.tolist()


def test_what_is_no_number_counts_as_the_worst(caplog):
    facts = facts_of(
        np.array([0.5, np.nan, 1.0, 0.2], np.float32), np.array([1, 2, np.inf, 5], np.float32)
    )
    plain = facts_of(np.array([0.5, 0.2, 1.0, 0.2], np.float32), np.array([1, 2, 5, 5], np.float32))

    assert balance_score(facts).tolist() == balance_score(plain).tolist()
    assert "loss of 1 samples is no number" in caplog.text
    assert not balance_score(facts_of(*np.full((2, 3), np.nan))).any()


def test_the_pacing_by_hand():
    # sqrt(.99 / 40 * t + .01): t = 0 is .1, t = 1 is sqrt(.03475).
    found = [pacing(t, 0.1, 40) for t in (0, 1, 5, 10, 20, 30, 39, 40, 41)]
    expected = [0.1, 0.18641, 0.36572, 0.50744, 0.71063, 0.86747, 0.98755, 1, 1]
    assert found == pytest.approx(expected, abs=1e-5)


def test_other_paces():
    # .1 + .9 t / 40.
    found = [pacing(t, 0.1, 40, "linear") for t in (0, 1, 20, 40, 41)]
    assert found == pytest.approx([0.1, 0.1225, 0.55, 1, 1])
    assert pacing(0, 0.1, 40, "none") == 1
    facts = facts_at_random(1000)
    assert len(Scorer(facts).order(BSSH(pace="linear"), 0)) == 122
    assert len(Scorer(facts).order(BSSH(pace="none"), 0)) == 1000


def test_linear_weights_stay_above_nothing_where_scores_fall_below_minus_1():
    p = probabilities(np.float32([-2, 0]), "linear")
    assert p == pytest.approx([0.01 / 2.02, 2.01 / 2.02])


def test_probabilities_by_hand():
    # e^.9718 = 2.6427, e^-1 = .3679, e^.4830 = 1.6209, e^-.1982 = .8202; their sum is 5.4517.
    assert probabilities(SCORE) == pytest.approx([0.4848, 0.0675, 0.2973, 0.1504], abs=1e-4)
    # 1.9818, .01, 1.4930, .8118 of 4.2966.
    assert probabilities(SCORE, "linear") == pytest.approx(
        [0.4613, 0.0023, 0.3475, 0.1889], abs=1e-4
    )


def test_extreme_scores_keep_every_probability_above_nothing():
    for weighting, most in (("softmax", math.e**2), ("linear", 201)):
        p = probabilities(np.array([-1, 1], np.float32), weighting)
        assert p.min() > 0
        assert p.max() / p.min() == pytest.approx(most, rel=1e-4)


def test_the_first_draw_follows_the_probabilities():
    p, generator, n = probabilities(SCORE), np.random.default_rng(1), 20_000
    orders = np.array([draw_order(p, generator) for _ in range(n)])

    assert (np.sort(orders, axis=1) == np.arange(4)).all()
    assert chisquare(np.bincount(orders[:, 0], minlength=4), n * p).pvalue > 0.01
    # The second draw is from what is left: P(j second) = sum_i p_i p_j / (1 - p_i).
    second = [sum(p[i] * p[j] / (1 - p[i]) for i in range(4) if i != j) for j in range(4)]
    assert chisquare(np.bincount(orders[:, 1], minlength=4), n * np.array(second)).pvalue > 0.01


def test_draws_with_replacement_follow_the_probabilities():
    p, generator = probabilities(SCORE), np.random.default_rng(2)
    counts = sum(
        np.bincount(draw_order(p, generator, replacement=True), minlength=4) for _ in range(5000)
    )
    assert chisquare(counts, 20_000 * p).pvalue > 0.01


@pytest.mark.parametrize("epoch", [0, 4, 38, 39, 60])
def test_bss_h_shows_exactly_the_best_share(epoch):
    facts = facts_at_random(1000)
    run, curriculum = Scorer(facts), BSSH()

    order = run.order(curriculum, epoch)

    share = math.floor(1000 * pacing(epoch + 1, 0.1, 40))
    assert len(order) == len(set(order.ids.tolist())) == share
    shown = np.isin(run.ids, order.ids)
    score = balance_score(facts)
    assert share == 1000 or score[shown].min() >= score[~shown].max()


def test_bss_h_scores_once_and_shuffles_anew():
    run, curriculum = Scorer(facts_at_random(64)), BSSH(start=1.0)
    orders = [run.order(curriculum, epoch).ids.tolist() for epoch in range(3)]
    assert run.passes == 1
    assert sorted(orders[0]) == sorted(orders[1]) == run.ids.tolist()
    assert orders[0] != orders[1] != orders[2]


def test_bss_h_from_epoch_0_takes_the_literal_share():
    # floor(6698 * lambda): the talk's t = 0 gives 669, the code's t = 1 gives 1248.
    facts = facts_at_random(6698)
    assert len(Scorer(facts).order(BSSH(offset=0), 0)) == 669
    assert len(Scorer(facts).order(BSSH(), 0)) == 1248


def test_bss_l_is_a_permutation_in_which_good_scores_come_early():
    facts = facts_at_random(4000)
    order = Scorer(facts).order(BSSL(), 0).ids - 100

    assert sorted(order.tolist()) == list(range(4000))
    score = balance_score(facts)
    assert score[order[:1000]].mean() > score[order[-1000:]].mean() + 0.1


def test_bss_l_smooths_its_scores_by_hand():
    # .4 * s + .6 * (.2, -.5, .1, .4) = (.5087, -.7000, .2532, .1607).
    curriculum = BSSL(beta=0.6)
    memory = curriculum.memory
    memory.refresh(0, 4, facts_by_hand)
    memory.score_of = lambda _: np.array([0.2, -0.5, 0.1, 0.4], np.float32)
    memory.refresh(1, 4, facts_by_hand)
    assert memory.score == pytest.approx([0.5087, -0.7, 0.2532, 0.1607], abs=1e-4)


def test_bss_l_scores_every_so_often():
    run, curriculum = Scorer(facts_at_random(10)), BSSL(every=3)
    for epoch in range(7):
        run.order(curriculum, epoch)
    assert run.passes == 3


def test_with_replacement_some_come_several_times():
    order = Scorer(facts_at_random(500)).order(BSSL(replacement=True), 0)
    assert len(order) == 500
    assert len(set(order.ids.tolist())) < 400


def test_an_order_is_a_function_of_seed_epoch_and_scores():
    facts = facts_at_random(100)
    one, other = (Scorer(facts).order(BSSL(), 0).ids for _ in range(2))
    assert one.tolist() == other.tolist()
    assert Scorer(facts, seed=1).order(BSSL(), 0).ids.tolist() != one.tolist()
    assert Scorer(facts_at_random(100, seed=5)).order(BSSL(), 0).ids.tolist() != one.tolist()


@pytest.mark.parametrize("made", [BSSL, lambda **given: BSSH(every=1, start=1.0, **given)])
def test_online_scores_come_from_what_was_shown(made):
    run, curriculum = Scorer(facts_at_random(6)), made(scoring="online", beta=1.0)
    run.order(curriculum, 0)
    assert curriculum.memory.score is None
    assert np.isnan(curriculum.memory.row()["score"]).all()

    shown = np.array([0, 1, 2, 3, 5, 5])
    shows = facts_of(np.float32([0.1, 0.2, 0.3, 0.4, 0.4, 0.6]), np.float32([6, 5, 4, 3, 2, 0]))
    curriculum.memory.observe(shown, shows, 0)
    run.order(curriculum, 1)

    assert run.passes == 0
    row = curriculum.memory.row()
    assert row["measured"].tolist() == [0, 0, 0, 0, -1, 0]
    assert row["similarity"][5] == pytest.approx(0.5)
    assert row["loss"][5] == 1
    # The sample that was never shown counts as the worst in both.
    assert row["score"] == pytest.approx([-1, 0.25 - 0.8, 0.5 - 0.6, 0.75 - 0.4, -1, 1], abs=1e-6)


def test_memory_survives_a_checkpoint():
    run, curriculum = Scorer(facts_at_random(30)), BSSL()
    run.order(curriculum, 0)
    again = BSSL()
    again.memory.load_state_dict(curriculum.memory.state_dict())
    for epoch in (0, 1):
        mine, theirs = (c.visits(run.ids, 0, epoch).ids.tolist() for c in (curriculum, again))
        assert mine == theirs
    assert run.order(again, 1).ids.tolist() == run.order(curriculum, 1).ids.tolist()


@pytest.mark.parametrize(
    ("made", "error"),
    [
        (lambda: BSSH(start=0), r"start is in \(0, 1\]; got 0"),
        (lambda: BSSH(grow=0), "grow is at least 1; got 0"),
        (lambda: BSSH(offset=2), "offset is 0 or 1"),
        (lambda: BSSH(pace="square"), "no pace 'square'"),
        (lambda: BSSH(criteria="presm"), "no criterion 'presm'; did you mean presim"),
        (lambda: BSSL(criteria="none,loss"), "none stands alone"),
        (lambda: BSSL(criteria=""), "no criterion"),
        (lambda: BSSL(beta=1.5), "beta is in"),
        (lambda: BSSL(every=-1), "0 for once"),
        (lambda: BSSL(weighting="soft"), "did you mean softmax"),
        (lambda: BSSL(scoring="pas"), "did you mean pass"),
    ],
)
def test_impossible_values_are_refused(made, error):
    with pytest.raises((ConfigError, UnknownName), match=error):
        made()
