import math
import sys

import pytest
import torch
from torch import nn

from mmtrain.config.run import OptimizerConfig, ScheduleConfig
from mmtrain.errors import DataError
from mmtrain.training.optimizer import Optimizer
from mmtrain.training.schedule import Schedule
from mmtrain.training.train import train
from tests.support.enginework import small


def rates(epochs, **given):
    schedule = Schedule(ScheduleConfig(**given), epochs)
    return [schedule.factor(epoch) for epoch in range(epochs)]


def test_schedules_by_hand():
    assert rates(3, name="constant") == [1, 1, 1]
    assert rates(5, name="step", every=2, gamma=0.5) == [1, 1, 0.5, 0.5, 0.25]
    # cos(0), cos(pi / 4) ... over 4 epochs.
    assert rates(4, name="cosine") == pytest.approx(
        [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    )
    assert rates(5, name="constant", warmup=3) == [0.25, 0.5, 0.75, 1, 1]
    assert rates(4, name="cosine", warmup=2) == pytest.approx([1 / 3, 2 / 3, 1, 0.5])


def test_plateau_waits_for_patience_and_is_saved():
    schedule = Schedule(ScheduleConfig(name="plateau", patience=1, gamma=0.1), 9)
    factors = []
    for loss in (3.0, 2.0, 2.0, 2.5, 1.0, 1.0):
        schedule.observe(loss)
        factors.append(schedule.factor(1))
        again = Schedule(ScheduleConfig(name="plateau", patience=1, gamma=0.1), 9)
        again.load_state_dict(schedule.state_dict())
        schedule = again
    # Better, better, waits 1, waits 2 > 1: falls; better, waits 1.
    assert factors == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1])


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def step(net, optimizer, scale=1.0):
    optimizer.clear()
    (net(torch.ones(2, 3)).square().mean() * scale).backward()
    optimizer.step()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_it_is_torchs_own_optimizer(name):
    mine, theirs = model(), model()
    optimizer = Optimizer(mine, OptimizerConfig(name=name, lr=0.1, weight_decay=0.01))
    kinds = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.01),
    }
    other = kinds[name](theirs.parameters())
    for _ in range(3):
        step(mine, optimizer)
        other.zero_grad()
        theirs(torch.ones(2, 3)).square().mean().backward()
        other.step()
    assert all(
        torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True)
    )


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_step_does_without_torchs_compiler(monkeypatch, name):
    # Its import takes a second of every process that trains.
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # Raises where it is imported.
    net = model()
    before = [p.detach().clone() for p in net.parameters()]
    step(net, Optimizer(net, OptimizerConfig(name=name, lr=0.1)))
    assert not any(torch.equal(p, old) for p, old in zip(net.parameters(), before, strict=True))


def test_a_run_does_without_torchs_compiler(monkeypatch, shards, tmp_path):
    for name in ("torch._dynamo", "torch._inductor", "torch._inductor.config"):
        monkeypatch.setitem(sys.modules, name, None)
    before = torch.get_deterministic_debug_mode()
    assert train(small(shards, epochs=1), tmp_path / "run")["test"]["accuracy"] >= 0
    assert torch.get_deterministic_debug_mode() == before


def test_clipping_is_torchs_own():
    mine, theirs = model(), model()
    optimizer = Optimizer(mine, OptimizerConfig(lr=0.1, momentum=0, weight_decay=0, clip=0.5))
    step(mine, optimizer, 1e3)
    theirs(torch.ones(2, 3)).square().mean().mul(1e3).backward()
    nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
    torch.optim.SGD(theirs.parameters(), lr=0.1).step()
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_state_is_kept_by_name_whatever_the_order(name):
    config = OptimizerConfig(name=name, lr=0.1)
    first = model()
    optimizer = Optimizer(first, config)
    step(first, optimizer)
    first.append(nn.Linear(2, 2))
    optimizer.adopt(first[2].parameters())
    step(first, optimizer)

    class Reordered(nn.Module):
        def __init__(self):
            super().__init__()
            for part in reversed(range(3)):
                self.add_module(str(part), nn.Linear(*first[part].weight.T.shape))

        def forward(self, x):
            return self.get_submodule("2")(self.get_submodule("1")(self.get_submodule("0")(x)))

    second = Reordered()
    second.load_state_dict(first.state_dict())
    resumed = Optimizer(second, config)
    resumed.load_state_dict(optimizer.state_dict())
    step(first, optimizer)
    step(second, resumed)

    after = second.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in first.state_dict().items())


def test_state_of_an_unknown_parameter_is_refused():
    net = model()
    with pytest.raises(DataError, match=r"unknown 7\.weight"):
        Optimizer(net, OptimizerConfig()).load_state_dict({"7.weight": {}})


def test_factors_multiply_the_rate_by_hand():
    # SGD without momentum: each weight moves by rate * factor * gradient.
    net = model()
    optimizer = Optimizer(net, OptimizerConfig(lr=0.1, momentum=0, weight_decay=0))
    optimizer.set_factor(0.5, net[0].parameters())
    optimizer.set_factor(0.0, [net[1].bias])
    optimizer.set_rate(0.2)
    before = {name: value.clone() for name, value in net.state_dict().items()}

    step(net, optimizer)

    rates = {"0.weight": 0.1, "0.bias": 0.1, "1.weight": 0.2, "1.bias": 0.0}
    assert optimizer.rates() == pytest.approx(rates)
    for name, parameter in net.named_parameters():
        moved = before[name] - rates[name] * parameter.grad
        torch.testing.assert_close(parameter.detach(), moved)


def test_factors_split_groups_once_and_survive_a_checkpoint():
    net = model()
    optimizer = Optimizer(net, OptimizerConfig(lr=0.1))
    for factor in (0.5, 0.25, 2.0):
        optimizer.set_factor(factor, net[0].parameters())
    net.append(nn.Linear(2, 2))
    optimizer.adopt(net[2].parameters(), 3.0)
    assert len(optimizer.parameters) == len({*optimizer.parameters}) == 6

    again = Optimizer(net, OptimizerConfig(lr=0.1))
    again.set_factor(7.0, net[1].parameters())
    again.load_factors(optimizer.factors())

    assert again.rates() == optimizer.rates()
    assert optimizer.factors() == {"0.weight": 2, "0.bias": 2, "2.weight": 3, "2.bias": 3}


@pytest.mark.parametrize("factor", [-1.0, math.inf, math.nan])
def test_impossible_factors_are_refused(factor):
    net = model()
    with pytest.raises(ValueError, match="factor on the learning rate"):
        Optimizer(net, OptimizerConfig()).set_factor(factor, net.parameters())


def test_gradients_of_what_joins_later_are_counted():
    net = model()
    optimizer = Optimizer(net, OptimizerConfig(lr=0.1))
    step(net, optimizer)
    assert len(optimizer.gradients()) == 4
    net.append(nn.Linear(2, 2))
    optimizer.adopt(net[2].parameters())
    step(net, optimizer)
    assert len(optimizer.gradients()) == 6


def test_a_stage_starts_the_schedule_anew():
    schedule = Schedule(ScheduleConfig(name="cosine", warmup=1), 10)
    schedule.restart(4, 3)
    again = Schedule(ScheduleConfig(name="cosine", warmup=1), 10)
    again.load_state_dict(schedule.state_dict())
    # Warm-up 1/2, then cos(0), cos(pi/2) over the 2 epochs left; behind its end it stays at 0.
    assert [again.factor(epoch) for epoch in (4, 5, 6, 7, 9)] == pytest.approx([0.5, 1, 0.5, 0, 0])
    again.restart(4)
    assert again.factor(7) == pytest.approx((1 + math.cos(math.pi * 2 / 5)) / 2)


def test_a_schedule_of_an_older_checkpoint_is_read():
    schedule = Schedule(ScheduleConfig(name="plateau"), 10)
    schedule.load_state_dict({"factor": 0.5, "best": 1.0, "waited": 2})
    assert schedule.factor(3) == 0.5
    assert schedule.state_dict()["epochs"] == 10


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_state_is_laid_out_as_its_parameter_when_it_is_loaded(name):
    config = OptimizerConfig(name=name, lr=0.1)
    plain = nn.Conv2d(3, 4, 2)
    optimizer = Optimizer(plain, config)
    plain(torch.ones(1, 3, 4, 4)).sum().backward()
    optimizer.step()
    other = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
    assert other.weight.stride() != plain.weight.stride()

    resumed = Optimizer(other, config)
    resumed.load_state_dict(optimizer.state_dict())

    for key, value in optimizer.state_dict()["weight"].items():
        loaded = resumed.state_dict()["weight"][key]
        assert torch.equal(loaded, value)
        assert loaded.ndim == 0 or loaded.stride() == other.weight.stride()
