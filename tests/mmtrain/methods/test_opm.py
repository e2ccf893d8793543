"""OPM and OPM+OGM."""

from itertools import pairwise

import pytest
import torch

from mmtrain.errors import ConfigError, Interrupted, UnknownName
from mmtrain.functional.modulation import ogm_factor
from mmtrain.methods.base import Method
from mmtrain.methods.ogm import OGM
from mmtrain.methods.opm import OPM, OPMOGM, drop_probability, rescale_factor
from tests.support.enginework import Stop, lines, running, same, small
from tests.support.methodwork import fitted

THREE = ("audio", "visual", "flow")


def of(*values):
    return torch.tensor(values)


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in other)


def test_drop_probability_by_hand():
    # Example A: .5 (1 + .5 tanh(.844623)) = .672062. Example B: tanh(2) and tanh(.25).
    assert drop_probability(of(1.844623, 0.542116), 0.5, 0.5).tolist() == pytest.approx(
        [0.672062, 0], abs=1e-6
    )
    assert drop_probability(of(3.0, 1.25, 0.375), 0.5, 0.5).tolist() == pytest.approx(
        [0.741007, 0.561230, 0], abs=1e-6
    )
    # .5 (1 + .5 tanh(.5)); .5 (1 + .5 tanh(3)); .5 * 1.5.
    assert drop_probability(of(1.5, 4.0, 1e9), 0.5, 0.5).tolist() == pytest.approx(
        [0.615529, 0.748764, 0.75], abs=1e-6
    )


def test_drop_probability_at_its_borders():
    assert drop_probability(of(1.5, 1.0, 0.5), 0.5, 0.0).tolist() == [0.5, 0, 0]
    assert drop_probability(of(9.0), 0.8, 0.5).tolist() == [1]
    # .5 (1 + .5 sigmoid(2)); the difference is gated at 0, where z is 0 until 1.
    assert drop_probability(of(2.0), 0.5, 0.5, "sigmoid").item() == pytest.approx(0.720199)
    assert drop_probability(of(0.5, -0.5), 0.5, 0.5, "tanh", 0.0).tolist() == [0.5, 0]


def test_both_by_one_ratio():
    # Example A: q = .672062, k = .449400; the gradient is expected to be (1 - q) k = .147375 of it.
    rho = of(1.844623, 0.542116)

    both = (1 - drop_probability(rho, 0.5, 0.5)) * ogm_factor(rho, 0.8)

    assert both.tolist() == pytest.approx([0.147375, 1], abs=1e-6)


def test_rescaling_by_hand():
    # theta = (2 * .6 + 2 * 0) / 4 = .3; with .5985, .29925; of widths 1 and 3, .15.
    assert rescale_factor(of(0.6, 0.0), [2, 2]).item() == pytest.approx(1.428571)
    assert rescale_factor(of(0.5985, 0.0), [2, 2]).item() == pytest.approx(1.427043, abs=1e-6)
    assert rescale_factor(of(0.6, 0.0), [1, 3]).item() == pytest.approx(1 / 0.85)


def dropping(run, q, batch=None):
    """Features of a batch after the dropping, all of them 1 before it."""
    batch = batch or next(run.batches("train"))
    features = {m: torch.ones(len(batch), 2) for m in run.model.modalities}
    return run.method.drop_features(run, features, of(*q), batch)


def test_a_sample_is_dropped_where_its_draw_is_below_q(shards, tmp_path, monkeypatch):
    draws = of((0.10, 0.0), (0.70, 0.0), (0.55, 0.0), (0.95, 0.0))
    with running(small(shards), tmp_path, OPM()) as run:
        monkeypatch.setattr(run, "draws", lambda *shape: draws)

        left = dropping(run, (0.5985, 0.0))

    assert left["audio"].tolist() == [[0, 0], [1, 1], [0, 0], [1, 1]]
    assert left["visual"].tolist() == [[1, 1]] * 4


def test_the_code_rescales_all_features_of_a_batch_that_is_dropped_from(shards, tmp_path):
    with running(small(shards), tmp_path / "a", OPM(rescale=True)) as run:
        left = dropping(run, (0.6, 0.0))
    assert left["visual"].unique().item() == pytest.approx(1.428571)
    assert set(left["audio"].unique().tolist()) <= {0.0, left["visual"][0, 0].item()}
    with running(small(shards), tmp_path / "b", OPM(rescale=True, p_exe=0.0)) as run:
        left = dropping(run, (0.6, 0.0))
    assert all(x.unique().item() == 1 for x in left.values())


def test_batches_are_dropped_from_with_their_probability(shards, tmp_path):
    with running(small(shards), tmp_path, OPM(p_exe=0.7)) as run:
        batch = next(run.batches("train"))
        hit = [dropping(run, (1.0, 0.0), batch)["audio"].sum().item() == 0 for _ in range(200)]
    assert sum(hit) / len(hit) == pytest.approx(0.7, abs=0.1)


def test_the_only_modality_that_is_shown_is_kept(shards, tmp_path):
    with running(small(shards), tmp_path, OPM()) as run:
        batch = next(run.batches("train"))
        batch.shown["visual"] = of(True, False, True, False)
        left = dropping(run, (1.0, 0.0), batch)
    assert left["audio"][:, 0].tolist() == [0, 1, 0, 1]


def test_the_first_step_drops_nothing_and_the_next_by_its_lead(shards, tmp_path, monkeypatch):
    seen = []
    method = OPM()
    drop = OPM.drop_features

    def watched(self, run, features, q, batch):
        seen.append((q, self.stored))
        return drop(self, run, features, q, batch)

    monkeypatch.setattr(OPM, "drop_features", watched)
    fitted(shards, tmp_path, method)

    assert seen[0][0].tolist() == [0, 0]
    assert all(torch.equal(q, stored) for (_, stored), (q, _) in pairwise(seen))
    assert seen[1][0].max() > 0.5
    # One is ahead: the product of the two ratios is 1.
    assert all(q.min() == 0 for q, _ in seen)


def test_without_lag_a_batch_is_dropped_from_by_its_own_lead(shards, tmp_path):
    method = OPM(lag=0, q_base=1.0)
    with running(small(shards), tmp_path, method) as run:
        batch = next(run.batches("train"))
        run.model.train()
        method.step(run, batch)
        ahead = int(method.stored.argmax())
        gradients = [
            sum(float(g.abs().sum()) for g in run.model.gradients(m)) for m in run.model.modalities
        ]
    # All of its features were dropped, so nothing reaches its encoder.
    assert gradients[ahead] == 0
    assert gradients[1 - ahead] > 0


@pytest.mark.parametrize("method", [OPM(q_base=0), OPM(p_exe=0), OPM(start=1)], ids=str)
def test_when_nothing_is_dropped_it_is_joint_training(shards, tmp_path, method):
    found = fitted(shards, tmp_path / "a", method)
    assert equal(found, fitted(shards, tmp_path / "b", Method()))


def test_it_predicts_as_joint_training_does(shards, tmp_path):
    method = OPM(q_base=1.0, lag=0)
    with running(small(shards), tmp_path, method) as run:
        run.model.eval()
        batch = next(run.batches("val"))
        found = method.predict(run.model, batch)
        assert torch.equal(found.fused, run.model(batch).fused)


def test_both_without_one_is_the_other(shards, tmp_path):
    ogm = fitted(shards, tmp_path / "ogm", OGM(alpha=0.6))
    opm = fitted(shards, tmp_path / "opm", OPM())
    both = fitted(shards, tmp_path / "both", OPMOGM(alpha=0.6))

    assert equal(fitted(shards, tmp_path / "a", OPMOGM(q_base=0, alpha=0.6)), ogm)
    assert equal(fitted(shards, tmp_path / "b", OPMOGM(alpha=0)), opm)
    assert not equal(both, ogm)
    assert not equal(both, opm)


@pytest.mark.parametrize(
    "method",
    [
        OPM(rescale=True, p_exe=0.7, lag=0),
        OPM(rho="difference", z="sigmoid"),
        OPMOGM(noise="tensor-std", bias_share=0.0),
    ],
    ids=str,
)
def test_it_logs_what_it_does_with_three_modalities(shards, tmp_path, method):
    found = fitted(shards, tmp_path, method, fusion="gated", precision="bf16", modalities=THREE)

    logged = lines(tmp_path)[0]["logged"]
    names = ["score", "rho", "q", "dropped"]
    names += ["k", "gradient", "modulated"] * isinstance(method, OPMOGM)
    assert set(logged) == {f"{name}.{m}" for name in names for m in THREE}
    assert sum(logged[f"dropped.{m}"] for m in THREE) > 0
    assert max(logged[f"q.{m}"] for m in THREE) > 0
    assert all(value.isfinite().all() for value in found.values())


def test_a_run_goes_on_with_the_probabilities_of_the_step_before(shards, tmp_path):
    for name, steps in (("straight", ()), ("stopped", (2, 5))):
        for _ in range(len(steps) + 1):
            method, stop = OPMOGM(noise="tensor-std", p_exe=0.7), Stop(*steps)
            with running(small(shards), tmp_path / name, method, stop) as stop.run:
                try:
                    method.fit(stop.run)
                except Interrupted:
                    continue
    assert same(tmp_path / "straight", tmp_path / "stopped")


def test_wrong_options_are_refused():
    with pytest.raises(ConfigError, match=r"q_base is in \[0, 1\]; got 2"):
        OPM(q_base=2)
    with pytest.raises(ConfigError, match=r"p_exe is in \[0, 1\]; got -1"):
        OPM(p_exe=-1)
    with pytest.raises(ConfigError, match="lag is 0 or 1; got 2"):
        OPM(lag=2)
    with pytest.raises(ConfigError, match="alpha is at least 0"):
        OPMOGM(alpha=-1)
    with pytest.raises(UnknownName, match="no noise 'covariance'"):
        OPMOGM(noise="covariance")
