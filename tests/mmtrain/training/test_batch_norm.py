"""Batch normalisation over a single value a channel: the last sample of an epoch, alone."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from mmtrain.evaluation.audit import audit
from mmtrain.evaluation.evaluate import evaluate
from mmtrain.evaluation.probe import probe
from mmtrain.training.batch_norm import allow_single_values
from mmtrain.training.train import train
from tests.support.enginework import lines, small
from tests.support.rankwork import plan, said, together


def net():
    """Encoder whose normalised map is 1 x 1, with statistics that are not those of the start."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(2, 3, 4), nn.BatchNorm2d(3), nn.Flatten(), nn.BatchNorm1d(3))
    layers(torch.randn(8, 2, 4, 4))
    return layers


def test_one_value_is_normalised_as_in_evaluation_and_changes_no_statistic():
    one, layers = torch.randn(1, 2, 4, 4), net()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        deepcopy(layers)(one)
    allow_single_values(layers)
    before = [buffer.clone() for buffer in layers.buffers()]
    out = layers(one)
    assert torch.equal(out, deepcopy(layers).eval()(one))
    assert all(map(torch.equal, before, layers.buffers()))
    assert layers[1].training
    assert layers[3].training
    out.sum().backward()
    assert layers[0].weight.grad.abs().sum() > 0


def test_more_values_are_normalised_as_ever():
    plain, layers = net(), net()
    allow_single_values(layers)
    allow_single_values(layers)  # Once is enough.
    several = torch.randn(5, 2, 4, 4)
    assert torch.equal(plain(several), layers(several))
    assert all(map(torch.equal, plain.buffers(), layers.buffers()))
    assert len(layers[1]._forward_hooks) == 1


def test_a_layer_trains_on_after_an_error():
    layers = net()
    allow_single_values(layers)
    with pytest.raises(RuntimeError):
        layers[3](torch.randn(1, 3).double())
    assert layers[3].training


def test_an_epoch_whose_last_sample_is_alone_is_trained_and_measured(shards, tmp_path):
    # 18 samples in batches of 17; on pictures of 32 pixels ResNet-18 ends in a map of 1 x 1.
    changes = {"encoder": "resnet18", "settings": {}, "modalities": ("visual",), "batch_size": 17}
    train(small(shards, **changes, epochs=1), tmp_path)
    assert lines(tmp_path)[0]["train_loss"] > 0
    assert not audit(tmp_path).wrong
    assert 0 <= evaluate(tmp_path)["accuracy"] <= 1
    assert "visual" in probe(tmp_path)["modalities"]


@pytest.mark.slow
def test_so_is_one_whose_last_samples_are_alone_on_their_ranks(shards, tmp_path):
    # The last of two steps has two samples, or one and a filler.
    changes = {"encoder": "resnet18", "settings": {}, "modalities": ("visual",), "epochs": 1}
    plans = [
        plan(tmp_path / str(size), small(shards, **changes, batch_size=size), 2)
        for size in (16, 17)
    ]
    together(plans)
    for size in (16, 17):
        assert [said(tmp_path / str(size), rank) for rank in (0, 1)] == ["done", "done"]
        assert not audit(tmp_path / str(size)).wrong
