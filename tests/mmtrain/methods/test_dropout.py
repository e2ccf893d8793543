import pytest
import torch

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.methods.base import Method
from mmtrain.methods.catalog import METHODS
from mmtrain.methods.dropout import (
    Dropout,
    annealed_rate,
    curriculum_rate,
    draw_counts,
    feature_chances,
    feature_factors,
)
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted

THREE = ("audio", "visual", "flow")


def of(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_the_annealed_rate_by_hand():
    # (1 - t / 100) .5 at t = 0, 50, 100; never below 0.
    assert [annealed_rate(t, 100, 0.5) for t in (0, 50, 100, 150)] == [0.5, 0.25, 0, 0]


def test_the_span_is_that_of_the_run_unless_it_is_given():
    for span, rate in ((None, 0.25), (100, 0.4), (10, 0)):
        assert Dropout(kind="annealed", span=span).rate(20, 40) == pytest.approx(rate)


def test_the_curriculum_by_hand():
    # Kept: .5 exp(-10 t / 100) + .5 at t = 0, 10, 50, 100.
    kept = [1 - curriculum_rate(t, 100, 0.5, 10.0) for t in (0, 10, 50, 100)]
    assert kept == pytest.approx([1, 0.683940, 0.503369, 0.500023], abs=1e-6)


def test_the_evolutional_factors_by_hand():
    # x = (3, 0, 4), (3, 4, 0): mean squares 9, 8, 8, roots 3 and 2.828427, which sum to 8.656854.
    # Counts 2, 1, 0 of k = 3: 2 / 1.039638 and 1 / .980181.
    chance = feature_chances(of([3, 0, 4], [3, 4, 0]).square().mean(0))

    assert chance.tolist() == pytest.approx([0.346546, 0.326727, 0.326727], abs=1e-6)
    found = feature_factors(chance, torch.tensor([2, 1, 0]))
    assert found.tolist() == pytest.approx([1.923745, 1.020220, 0], abs=1e-5)


def test_counts_by_hand():
    # Ends .5, .5, .75, 1: the second has no length.
    found = draw_counts(of(0.5, 0, 0.25, 0.25), of(0, 0.49, 0.5, 0.74, 0.75, 0.999))
    assert found.tolist() == [2, 0, 2, 2]


def test_evolutional_factors_are_one_on_average():
    chance = feature_chances(torch.rand(6, generator=torch.Generator().manual_seed(0)))
    draws = torch.rand(3000, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    mean = torch.stack([feature_factors(chance, draw_counts(chance, each)) for each in draws]).mean(
        0
    )
    assert mean.tolist() == pytest.approx([1] * 6, abs=0.08)


@pytest.mark.parametrize("values", [(0, 0, 0), (0, 1e-30, 1), (1e30, 1e30, 0), (1e-40, 1e-40, 0)])
def test_evolutional_factors_are_sound_at_extreme_scales(values):
    chance = feature_chances(torch.tensor(values, dtype=torch.float32))
    found = feature_factors(chance, draw_counts(chance, of(0.1, 0.5, 0.9)))

    assert chance.sum().item() == pytest.approx(1)
    assert found.isfinite().all()


@pytest.mark.parametrize("kind", ["constant", "annealed", "curriculum", "evolutional"])
@pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
def test_factors_keep_the_mean_of_features(shards, tmp_path, kind, modalities):
    config = small(shards, modalities=modalities)
    with running(config, tmp_path, Dropout(kind=kind, p=0.25, pace=1e3)) as run:
        run.epoch = 1  # Of two: annealed to a half, the curriculum's at its end.
        rate = run.method.rate(run.epoch, run.planned)
        features = {m: torch.ones(4, 2000) for m in modalities}
        found = run.method.factors(run, features)

        width = 2000 * len(modalities)
        assert found.shape == ((1 if kind == "evolutional" else 4), width)
        assert found.mean().item() == pytest.approx(1, abs=0.03)
        if kind != "evolutional":
            assert rate == (0.125 if kind == "annealed" else pytest.approx(0.25))
            assert (found == 0).float().mean().item() == pytest.approx(rate, abs=0.02)


def test_with_rate_zero_it_is_joint_training(shards, tmp_path):
    found = fitted(shards, tmp_path / "a", Dropout(p=0.0))
    joint = fitted(shards, tmp_path / "b", Method())

    assert all(torch.equal(found[name], joint[name]) for name in joint)


def test_the_first_epoch_of_a_curriculum_is_joint_training(shards, tmp_path):
    found = fitted(shards, tmp_path, Dropout(kind="curriculum"), fusion="film", epochs=2)

    first, second = (line["logged"] for line in lines(tmp_path))
    assert first["rate"] == 0
    assert second["rate"] == pytest.approx(0.5 * (1 - 0.006738), abs=1e-5)
    assert all(value.isfinite().all() for value in found.values())


def test_lines_of_the_catalog_have_their_kinds():
    kinds = {n: METHODS.load(n)().kind for n in METHODS.names if n.startswith("dropout")}
    assert kinds == {
        "dropout": "constant",
        "dropout-annealed": "annealed",
        "dropout-curriculum": "curriculum",
        "dropout-evolutional": "evolutional",
    }


def test_wrong_options_are_refused():
    with pytest.raises(ConfigError, match=r"p is in \[0, 1\); got 1"):
        Dropout(p=1)
    with pytest.raises(ConfigError, match="draws is above 0; got 0"):
        Dropout(draws=0)
    with pytest.raises(UnknownName, match="kind"):
        Dropout(kind="anealed")
