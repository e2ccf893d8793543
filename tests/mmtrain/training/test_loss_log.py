import math

import pytest
import torch

from mmtrain.training.loss_log import Losses, read_scalars
from mmtrain.training.metrics_log import Meter

CPU = torch.device("cpu")


def test_scalars_of_every_kind_are_read_in_order():
    values = [1, torch.tensor(0.1), 2.5, torch.tensor(3), torch.tensor([0.25]).bfloat16()]
    assert read_scalars(values) == [1.0, float(torch.tensor(0.1)), 2.5, 3.0, 0.25]
    assert read_scalars([]) == []


def test_tensors_of_a_device_are_copied_once(monkeypatch):
    copies, tolist = [], torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda t: copies.append(len(t)) or tolist(t))
    monkeypatch.setattr(torch.Tensor, "__float__", None)
    read_scalars([torch.tensor(float(i)) for i in range(160)])
    assert copies == [160]


def test_losses_and_what_was_logged_reach_the_meter():
    losses, meter = Losses(CPU), Meter()
    for i in range(2):
        losses.add(torch.tensor(1.0 + i, requires_grad=True), torch.arange(3 - i), i)
        losses.log("k", torch.tensor(0.5))
        losses.log("k", 1.5)
    assert losses.many
    assert [*losses.settle(meter)] == []
    assert (meter.loss, meter.weight) == (3 * 1.0 + 2 * 2.0, 5)
    assert meter.logged == {"k": [4.0, 4]}
    assert [*losses.settle(meter)] == []
    assert meter.weight == 5


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_named_with_its_step(value):
    losses, ids = Losses(CPU), torch.tensor([7])
    losses.add(torch.tensor(1.0), ids, 4)
    losses.add(torch.tensor(value), ids, 5)
    (bad,) = losses.settle(Meter())
    assert (bad.step, bad.ids.tolist()) == (5, [7])
    assert str(bad.value) == str(value)
