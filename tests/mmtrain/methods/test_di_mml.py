import math
from itertools import pairwise

import pytest
import torch

from mmtrain.config.run import OptimizerConfig, ScheduleConfig
from mmtrain.errors import ConfigError
from mmtrain.methods.di_mml import DIMML, contrast, effective, interaction, vote
from tests.support.enginework import lines, running, small

THREE = ("audio", "visual", "flow")


def of(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def flags(*values):
    return torch.tensor(values, dtype=torch.bool)


A, V = of((1, 0), (0, 1)), of((0.8, 0.1), (0.3, 0.9))


def test_effective_by_hand():
    # Dimension 0: means 0 and 1, all four are right. Dimension 1: both means are 1/2, so that the
    # first class counts for all, two of four. The mean dimension has 3/4. Class 2 has no samples.
    features = of((0, 0), (0, 1), (1, 0), (1, 1))

    assert effective(features, torch.tensor([0, 0, 1, 1]), 3).tolist() == [True, False]


def test_effective_does_not_depend_on_scale_shift_or_order():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(30, 16, generator=generator)
    target = torch.arange(30) % 3
    features[:, :4] += target[:, None]
    found = effective(features, target, 3)

    assert found[:4].all()
    assert torch.equal(effective(64 * features + 8, target, 3), found)
    order = torch.randperm(30, generator=generator)
    assert torch.equal(effective(features[order], target[order], 3), found)
    assert not effective(torch.ones(4, 2), torch.tensor([0, 0, 1, 1]), 2).any()


def test_contrast_by_hand():
    # Audio against visual: (ln(1 + exp(.3 - .8)) + ln(1 + exp(.1 - .9))) / 2; visual against audio:
    # (ln(1 + exp(.1 - .8)) + ln(1 + exp(.3 - .9))) / 2.
    assert contrast(A, V, 1.0).item() == pytest.approx(0.422589, abs=1e-6)
    assert contrast(V, A, 1.0).item() == pytest.approx(0.420337, abs=1e-6)
    assert contrast(A, V, 1e6).item() == pytest.approx(math.log(2), abs=1e-5)
    assert contrast(1e4 * A, V, 1.0).isfinite()


def test_each_modality_learns_only_what_the_other_separates_and_it_does_not():
    features = {
        "audio": torch.randn(4, 3, requires_grad=True),
        "visual": torch.randn(4, 3, requires_grad=True),
    }
    dimensions = {"audio": flags(True, True, False), "visual": flags(False, True, False)}

    loss = interaction(features, dimensions, 1.0)
    loss.backward()

    own = features["visual"][:, :1], features["audio"][:, :1]
    torch.testing.assert_close(loss, contrast(*own, 1.0))
    assert not features["audio"].grad.any()
    assert features["visual"].grad.any(0).tolist() == [True, False, False]


def test_interaction_of_three_is_the_mean_over_pairs_in_any_order():
    features = {m: torch.randn(4, 3) for m in THREE}
    dimensions = {m: flags(i == 0, i == 1, i == 2) for i, m in enumerate(THREE)}

    def pair(*two):
        return interaction({m: features[m] for m in two}, dimensions, 2.0)

    expected = (pair(*THREE[:2]) + pair(*THREE[1:]) + pair(*THREE[::2])) / 3
    torch.testing.assert_close(interaction(features, dimensions, 2.0), expected)
    turned = dict(reversed(features.items()))
    torch.testing.assert_close(interaction(turned, dimensions, 2.0), expected)


def test_without_a_dimension_to_teach_interaction_is_0():
    same = {"audio": flags(True, False), "visual": flags(True, False)}
    assert interaction({"audio": A, "visual": V}, same, 1.0) == 0


@pytest.mark.parametrize(
    ("temperature", "weights"),
    [(1.0, (0.304994, 0.425650, 0.269357)), (3.0, (0.324998, 0.363190, 0.311812))],
)
def test_vote_by_hand(temperature, weights):
    # Heads (1, 0, 0), (3, 0, 0), (0, .5, 0) are sure by .576117, .909443 and .451863.
    heads = torch.stack([of((1, 0, 0)), of((3, 0, 0)), of((0, 0.5, 0))])

    first, second, third = weights
    expected = [first + 3 * second, 0.5 * third, 0]
    assert vote(heads, temperature)[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_vote_of_equals_is_their_own():
    heads = of((1, 0, 2)).expand(3, 1, 3)
    torch.testing.assert_close(vote(heads, 0.1), heads[0])


@pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
def test_its_stages_train_what_they_should(shards, tmp_path, modalities):
    plain = OptimizerConfig(lr=0.02, momentum=0, weight_decay=0)
    schedule = ScheduleConfig(name="step", every=2, gamma=0.1)
    config = small(shards, modalities=modalities, epochs=3, optimizer=plain, schedule=schedule)
    with running(config, tmp_path, DIMML(start=1, fusion_epochs=1, temperature=1.0)) as run:
        weights, known, train_epoch = [], [], run.train_epoch

        def watched(method):
            known.append({m: int(own.sum()) for m, own in method.dimensions.items()})
            train_epoch(method)
            weights.append({n: v.clone() for n, v in run.model.state_dict().items()})

        run.train_epoch = watched
        run.method.fit(run)

    changed = [
        {name.split(".")[0] for name in after if not torch.equal(before[name], after[name])}
        for before, after in pairwise(weights)
    ]
    assert changed == [{"encoders", "heads", "shared_head"}, {"fusion"}]
    assert known[0] == {}
    assert known[1] == known[2]
    assert all(0 < known[1][m] < 64 for m in ("audio", "visual"))
    assert known[1].get("flow", 0) == 0, "flow is the same for all samples"
    first, second, third = lines(tmp_path)
    assert {f"effective.{m}": known[1][m] for m in modalities}.items() <= second["logged"].items()
    assert second["logged"]["interaction"] > 0
    assert "interaction" not in first["logged"]
    assert [line["lr"] for line in (first, second, third)] == [0.02] * 3


def test_the_fusion_votes_only_when_it_is_trained(shards, tmp_path):
    with running(small(shards, epochs=3), tmp_path, DIMML(start=0, fusion_epochs=1)) as run:
        batch = next(run.batches("val"))
        out = run.model(batch)
        own = torch.stack([*out.logits.values()])
        torch.testing.assert_close(run.method.predict(run.model, batch).fused, vote(own, 1.0))
        run.method.fusing = True
        every = torch.cat([own, out.fused[None]])
        torch.testing.assert_close(run.method.predict(run.model, batch).fused, vote(every, 1.0))


def test_what_it_cannot_do_is_refused(shards, tmp_path):
    with pytest.raises(ConfigError, match="temperature is above 0; got 0"):
        DIMML(temperature=0)
    method = DIMML(start=0, fusion_epochs=1)
    for number, (config, chosen, message) in enumerate(
        (
            (small(shards), DIMML(), r"more than start \+ fusion_epochs = 40 epochs; got 2"),
            (small(shards, modalities=("audio",)), method, "two modalities or more share"),
            (small(shards, fusion="mmtm"), method, "choose a fusion without exchange"),
        )
    ):
        with (
            pytest.raises(ConfigError, match=message),
            running(config, tmp_path / str(number), chosen),
        ):
            pass
