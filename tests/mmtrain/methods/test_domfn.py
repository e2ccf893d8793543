import pytest
import torch

from mmtrain.errors import ConfigError
from mmtrain.methods.domfn import DOMFN, penalties, surest
from mmtrain.tasks.classification import Classification
from mmtrain.types import Outputs
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted

THREE = ("audio", "visual", "flow")


def of(*rows):
    return torch.tensor(rows, dtype=torch.float32)


# Probabilities (.7, .2, .1) and (.3, .4, .3).
LOGITS = {"audio": of((0.7, 0.2, 0.1)).log(), "visual": of((0.3, 0.4, 0.3)).log()}


def outputs(fused, logits=LOGITS):
    return Outputs(fused=fused, logits=dict(logits), features={})


def test_penalties_by_hand():
    # The mean is (.5, .3, .2): differences (.2, -.1, -.1) and (-.2, .1, .1), largest square .04.
    assert penalties(LOGITS).flatten().tolist() == pytest.approx([0.04, 0.04])


def test_the_loss_by_hand():
    # CE .356675 and 1.203973; l = .5 CE^2 - .5 * .04 = .043609 and .704775. Fused: ln 3.
    out, target, task = outputs(of((0, 0, 0))), torch.tensor([0]), Classification(3)
    own = 0.356675 + 1.203973
    method = DOMFN()
    assert method.sample_losses(task, out, target).item() == pytest.approx(own, abs=1e-5)

    method.fusing = True
    joint = own + 0.043609 + 0.704775 + 1.098612
    assert method.sample_losses(task, out, target).item() == pytest.approx(joint, abs=1e-5)

    # .04 / .5 = .08 is not below .08 by a hair: the gate is closed.
    method.threshold = 0.0799
    assert method.sample_losses(task, out, target).item() == pytest.approx(own, abs=1e-5)


def test_penalties_keep_their_bound_so_that_two_modalities_always_agree_by_default():
    sure = of((1e4, 0, 0)), of((0, 1e4, 0)), of((1e4, 0, 0))
    two = penalties(dict(zip(THREE, sure[:2], strict=False)))
    three = penalties(dict(zip(THREE, sure, strict=True)))

    assert two.flatten().tolist() == pytest.approx([1 / 4] * 2)
    assert three.flatten().tolist() == pytest.approx([1 / 9, 4 / 9, 1 / 9])
    assert DOMFN().agreeing(two).all()
    assert not DOMFN().agreeing(three).any()
    alike = penalties({m: of((1, 2, 3)) for m in THREE})
    assert torch.allclose(alike, torch.zeros(3, 1), atol=1e-12)


def test_the_surest_decides_and_of_equals_the_first():
    logits = {
        "audio": of((2, 0, 0), (0, 1, 0), (0, 0, 2)),
        "visual": of((0, 3, 0), (0, 0, 0.5), (2, 0, 0)),
    }
    assert surest(logits).tolist() == [[0, 3, 0], [0, 1, 0], [0, 0, 2]]


def test_samples_are_gated_one_by_one(shards, tmp_path):
    config = small(shards, modalities=THREE)
    with running(config, tmp_path, DOMFN(pretrain=1)) as run:
        run.method.fusing = True
        batch = next(run.batches("val"))
        out = run.model(batch)
        divergence = penalties(out.logits).amax(0)
        run.method.threshold = (divergence / run.method.tau).median().item()
        fused = run.method.predict(run.model, batch).fused
        losses = run.method.sample_losses(run.task, out, batch.target)
        own = torch.stack([run.task.losses(z, batch.target) for z in out.logits.values()]).sum(0)

        together = divergence / run.method.tau < run.method.threshold
        assert 0 < together.sum() < len(batch)
        assert torch.equal(fused[together], out.fused[together])
        assert torch.equal(fused[~together], surest(out.logits)[~together])
        assert torch.equal(losses == own, ~together)
        run.method.fusing = False
        assert torch.equal(run.method.predict(run.model, batch).fused, surest(out.logits))


def test_the_fusion_learns_only_after_the_first_epochs(shards, tmp_path):
    early = fitted(shards, tmp_path / "early", DOMFN(pretrain=2), epochs=3)
    assert all(value.isfinite().all() for value in early.values())
    with running(small(shards, epochs=3), tmp_path / "b", DOMFN(pretrain=1)) as run:
        seen, train_epoch = [run.model.fusion.head.weight.detach().clone()], run.train_epoch

        def watched(method):
            train_epoch(method)
            seen.append(run.model.fusion.head.weight.detach().clone())

        run.train_epoch = watched
        run.method.fit(run)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    logged = lines(tmp_path / "b")[-1]["logged"]
    assert logged["agreeing"] == 1
    assert 0 < logged["penalty.audio"] < 0.25


def test_wrong_options_are_refused(shards, tmp_path):
    with pytest.raises(ConfigError, match="tau is above 0; got 0"):
        DOMFN(tau=0)
    with (
        pytest.raises(ConfigError, match="fuses after 30 epochs, and the run has 2"),
        running(small(shards), tmp_path, DOMFN()),
    ):
        pass
