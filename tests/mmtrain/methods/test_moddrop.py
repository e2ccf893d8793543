import pytest
import torch
from torch.nn import functional as F

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.methods.base import Method
from mmtrain.methods.moddrop import ModDrop, keep_given_any
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted

THREE = ("audio", "visual", "flow")


def of(*values):
    return torch.tensor(values)


def test_keep_given_any_by_hand():
    # p = .5, .5: the first goes below .5 (1 - .5) / (1 - .25) = 1/3; then the second stays whatever
    # its draw. Where the first is kept, the second goes below .5.
    draws = of((0.33, 0.0), (0.34, 0.49), (0.34, 0.5), (0.9, 0.2))

    assert keep_given_any(draws, [0.5, 0.5]).tolist() == [
        [False, True], [True, False], [True, True], [True, False]
    ]  # fmt: skip


def test_keep_given_any_is_what_drawing_again_would_give():
    p = (0.5, 0.2, 0.7)
    draws = torch.rand(200_000, 3, generator=torch.Generator().manual_seed(0))

    found = keep_given_any(draws, p)

    assert found.any(1).all()
    # Of all but the empty subset, whose probability is .5 * .2 * .7 = .07.
    assert (~found).float().mean(0).tolist() == pytest.approx(
        [(each - 0.07) / 0.93 for each in p], abs=0.005
    )
    alone = (found == of(True, False, False)).all(1).float().mean().item()
    assert alone == pytest.approx(0.5 * 0.2 * 0.7 / 0.93, abs=0.005)


def test_a_modality_that_may_not_be_dropped_is_kept_and_the_other_by_its_probability():
    draws = torch.rand(50_000, 2, generator=torch.Generator().manual_seed(0))

    found = keep_given_any(draws, (0.3, 0.0))

    assert found[:, 1].all()
    assert (~found[:, 0]).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert keep_given_any(draws[:, :1], (0.9,)).all()


def test_with_probability_zero_it_is_joint_training(shards, tmp_path):
    found = fitted(shards, tmp_path / "a", ModDrop(p=0.0))
    joint = fitted(shards, tmp_path / "b", Method())

    assert all(torch.equal(found[name], joint[name]) for name in joint)


@pytest.mark.parametrize(
    ("empty", "left"), [("keep", (1, 0, 1, 0)), ("omit", (1, 0, 1, 0)), ("resample", (1, 1, 1, 1))]
)
def test_a_sample_that_would_lose_all(shards, tmp_path, monkeypatch, empty, left):
    # Of four samples, the second and last lose both modalities, the first audio, the third none.
    draws = of((0.4, 0.6), (0.4, 0.4), (0.6, 0.6), (0.1, 0.1))
    method = ModDrop(empty=empty)
    plain = OptimizerConfig(lr=0.1, momentum=0, weight_decay=0)
    with running(small(shards, optimizer=plain), tmp_path, method) as run:
        monkeypatch.setattr(run, "draws", lambda *shape: draws)
        batch = next(run.batches("train"))
        keep = method.keep_mask(run, batch)
        assert keep.any(1).tolist() == [bool(each) for each in left]
        features = run.model.train().encode(batch)
        masked = {m: x * keep[:, [i]] for i, (m, x) in enumerate(features.items())}
        losses = F.cross_entropy(run.model.classify(masked).fused, batch.target, reduction="none")
        counted = losses[keep.any(1)] if empty == "omit" else losses
        (_, bias) = run.gradients(counted.mean(), run.model.fusion)
        before = run.model.fusion.head.bias.detach().clone()
        method.step(run, batch)
        assert torch.allclose(run.model.fusion.head.bias - before, -0.1 * bias, atol=1e-7)


@pytest.mark.parametrize("empty", ["keep", "omit", "resample"])
def test_it_logs_how_many_it_drops_of_three_modalities(shards, tmp_path, empty):
    method = ModDrop(empty=empty, among=("audio", "flow"))
    found = fitted(shards, tmp_path, method, fusion="film", modalities=THREE)

    logged = lines(tmp_path)[0]["logged"]
    assert logged["dropped.visual"] == 0
    assert 0 < logged["dropped.audio"] < 4
    assert 0 < logged["dropped.flow"] < 4
    assert all(value.isfinite().all() for value in found.values())


def test_a_batch_that_has_lost_everything_moves_nothing(shards, tmp_path, monkeypatch):
    method = ModDrop(empty="omit")
    plain = OptimizerConfig(lr=0.1, momentum=0, weight_decay=0)
    with running(small(shards, optimizer=plain), tmp_path, method) as run:
        monkeypatch.setattr(run, "draws", lambda *shape: torch.zeros(4, *shape))
        before = [p.clone() for p in run.model.parameters()]
        method.step(run, next(run.batches("train")))
        after = [*run.model.parameters()]
    assert all(torch.equal(p, q) for p, q in zip(before, after, strict=True))


def test_the_only_modality_that_is_shown_is_kept(shards, tmp_path):
    with running(small(shards), tmp_path, ModDrop(p=0.9)) as run:
        batch = next(run.batches("train"))
        batch.shown["visual"] = torch.zeros(4, dtype=torch.bool)
        assert all(run.method.keep_mask(run, batch)[:, 0].all() for _ in range(20))


def test_wrong_options_are_refused(shards, tmp_path):
    with pytest.raises(ConfigError, match=r"p is in \[0, 1\); got 1"):
        ModDrop(p=1)
    with pytest.raises(UnknownName, match="no empty 'drop'"):
        ModDrop(empty="drop")
    with (
        pytest.raises(
            UnknownName, match=r"no modality for moddrop\.among 'vidual'; did you mean vis"
        ),
        running(small(shards), tmp_path, ModDrop(among=("vidual",))),
    ):
        pass
