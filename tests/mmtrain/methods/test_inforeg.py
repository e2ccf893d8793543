import math

import pytest
import torch

from mmtrain.config.run import OptimizerConfig
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.functional import confidence
from mmtrain.functional.modulation import difference
from mmtrain.methods.inforeg import InfoReg, growth, pull
from mmtrain.methods.multitask import Multitask
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import CHECKPOINT
from tests.support.enginework import lines, running, small
from tests.support.methodwork import fitted, trained_losses

THREE = ("audio", "visual", "flow")
PLAIN = OptimizerConfig(lr=0.1, momentum=0, weight_decay=0)


def of(*values):
    return torch.tensor(values)


# The equations.


def test_the_pull_by_hand():
    # .95 exp(tanh .1) = .95 * 1.104804; tanh .5 = .462117; at 5 it is nearly .95 e = 2.582368.
    assert pull(of(0.1, 0.5, 5.0), 0.95).tolist() == pytest.approx(
        [1.049564, 1.508060, 2.582133], abs=1e-5
    )
    assert pull(of(0.1, -0.1, 0.0), 0.1).tolist() == pytest.approx([0.110480, 0, 0], abs=1e-5)
    assert pull(of(1e30, -1e30), 0.95).tolist() == pytest.approx([0.95 * math.e, 0])


def test_of_equal_modalities_none_is_drawn_and_of_three_maybe_two():
    assert not pull(difference(of(0.4, 0.4, 0.4)), 0.95).any()
    # .6 - .35, .5 - .4, .2 - .55: two are above the mean of their others.
    scores = of(0.6, 0.5, 0.2)
    drawn = pull(difference(scores), 1.0)
    assert drawn.tolist() == pytest.approx([math.exp(math.tanh(0.25)), math.exp(math.tanh(0.1)), 0])
    order = [2, 0, 1]
    torch.testing.assert_close(pull(difference(scores[order]), 1.0), drawn[order])


def test_growth_by_hand():
    assert growth([]) == growth([3.0]) == 1
    # The sum of ten goes from 4 to 8, and from 8 to 9: (8 - 4) / 8, (9 - 8) / 9.
    assert growth([4.0, 4.0]) == pytest.approx(0.5)
    assert growth([4.0, 4.0, 1.0]) == pytest.approx(1 / 9)
    # Of eleven the first leaves: (3 - 1) / (9 + 3), from the eleventh on.
    assert growth([1.0] * 10 + [3.0]) == pytest.approx(1 / 6)
    assert growth([1.0] * 11) == growth([0.0] * 11) == growth([0.0]) == 0
    assert growth([2.0] * 10 + [1.0]) == pytest.approx(-1 / 19)


def test_only_the_last_eleven_traces_count():
    traces = [float(i % 7 + 1) for i in range(30)]
    assert growth(traces) == growth(traces[-11:])


# Training.


def left_behind(run, method, batch):
    """Parameters before a step away from where the epoch began, and change in it."""
    method.begin(run)
    with torch.no_grad():
        for p in run.model.parameters():
            p.add_(0.01)
    before = {n: p.detach().clone() for n, p in run.model.named_parameters()}
    method.step(run, batch)
    return {n: p.detach() - before[n] for n, p in run.model.named_parameters()}


@pytest.mark.parametrize("score", ["mean", "sum"])
@pytest.mark.parametrize("modalities", [THREE[:2], THREE], ids=["two", "three"])
def test_a_step_pulls_the_encoders_that_are_ahead(shards, tmp_path, modalities, score):
    config = small(shards, modalities=modalities, optimizer=PLAIN)
    with running(config, tmp_path / "plain", InfoReg(beta=0.0)) as run:
        batch = next(run.batches("train"))
        run.model.train()
        plain = left_behind(run, run.method, batch)
    method = InfoReg(score=score)
    with running(config, tmp_path / "pulled", method) as run:
        run.model.train()
        with torch.no_grad():
            for p in run.model.parameters():
                p.add_(0.01)
            logits = run.model(batch).logits.values()
            for p in run.model.parameters():
                p.sub_(0.01)
        sums = torch.stack([confidence(z, batch.target).sum() for z in logits])
        gap = difference(sums if score == "sum" else sums / len(batch))
        strength = dict(zip(modalities, pull(gap, 0.95).tolist(), strict=True))
        pulled = left_behind(run, method, batch)

    assert 0 < sum(factor > 0 for factor in strength.values()) < len(modalities)
    for name, change in pulled.items():
        factor = strength[name.split(".")[1]] if name.startswith("encoders.") else 0
        expected = plain[name] - 0.1 * factor * 0.01
        torch.testing.assert_close(change, expected, atol=2e-6, rtol=1e-3)


def test_the_first_step_of_an_epoch_pulls_nowhere(shards, tmp_path):
    # theta = theta_start adds 0.
    changes = []
    for name, method in (("a", InfoReg()), ("b", InfoReg(beta=0.0))):
        with running(small(shards, optimizer=PLAIN), tmp_path / name, method) as run:
            run.model.train()
            method.begin(run)
            method.step(run, next(run.batches("train")))
            changes.append([p.detach().clone() for p in run.model.parameters()])
    assert all(torch.equal(p, q) for p, q in zip(*changes, strict=True))


def test_the_trace_is_the_mean_square_of_the_gradients(shards, tmp_path):
    method = InfoReg()
    with running(small(shards), tmp_path, method) as run:
        run.model.train()
        method.begin(run)
        expected = {m: [] for m in run.model.modalities}
        for batch in run.batches("train"):
            loss = method.loss(run, run.model(batch), batch)
            for m, squares in expected.items():
                gradients = run.gradients(loss, run.model.encoders[m])
                squares.append(sum(g.square().sum() for g in gradients).item())
            method.step(run, batch)
        method.end(run)
    for m, squares in expected.items():
        (trace,) = method.traces[m]
        assert trace == pytest.approx(sum(squares) / len(squares), rel=1e-4)


def test_where_the_window_is_closed_it_is_multitask_with_shares(shards, tmp_path):
    class Shares(Multitask):
        def setup(self, run): ...

    # No growth is above 1, so the window never opens.
    closed = fitted(shards, tmp_path / "a", InfoReg(threshold=1.0), epochs=2)
    plain = fitted(shards, tmp_path / "b", Shares(), epochs=2)

    assert all(torch.allclose(closed[n], plain[n], rtol=1e-4, atol=1e-6) for n in plain)
    assert checkpoint.load(tmp_path / "a" / CHECKPOINT)["method"]["start"] == {}
    for line in lines(tmp_path / "a"):
        assert line["logged"]["pull.audio"] == line["logged"]["pull.visual"] == 0


def test_it_logs_what_it_does(shards, tmp_path):
    fitted(shards, tmp_path, InfoReg(), epochs=2, modalities=THREE)

    first, second = (line["logged"] for line in lines(tmp_path))
    names = ("score", "pull", "trace", "growth")
    assert set(first) == {f"{name}.{m}" for name in names for m in THREE}
    assert all(first[f"growth.{m}"] == 1 for m in THREE)
    for m in THREE:
        both = first[f"trace.{m}"] + second[f"trace.{m}"]
        assert second[f"growth.{m}"] == pytest.approx(second[f"trace.{m}"] / both)
    assert max(second[f"pull.{m}"] for m in THREE) > 0


def test_curricula_score_by_all_its_losses(shards, tmp_path):
    with running(small(shards), tmp_path, InfoReg()) as run:
        batch = next(run.batches("val"))
        out = run.model(batch)
        losses = [run.task.losses(z, batch.target) for z in (out.fused, *out.logits.values())]
        found = run.method.sample_losses(run.task, out, batch.target)
        torch.testing.assert_close(found, sum(losses))
        assert trained_losses(run).isfinite().all()


def test_wrong_options_are_refused():
    with pytest.raises(ConfigError, match="beta is at least 0; got -1"):
        InfoReg(beta=-1)
    with pytest.raises(UnknownName, match="no score 'max'"):
        InfoReg(score="max")
