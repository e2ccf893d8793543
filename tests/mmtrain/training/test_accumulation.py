"""Steps of several batches against steps of one large batch."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mmtrain.config.run import OptimizerConfig
from mmtrain.data import open_dataset
from mmtrain.errors import ConfigError
from mmtrain.models.pieces import encode_in_pieces
from mmtrain.training import checkpoint
from mmtrain.training.assemble import assemble
from mmtrain.training.checkpoint import CHECKPOINT
from mmtrain.training.parts import fitted
from mmtrain.types import Batch
from tests.support.enginework import lines
from tests.support.taskwork import tiny


def trained(shards, folder, **changes):
    """The run of one epoch, three steps of 4 samples, without its test."""
    optimizer = OptimizerConfig(name="sgd", lr=0.05)
    config = tiny(shards, epochs=1, optimizer=optimizer, **changes)
    folder.mkdir()
    with (
        open_dataset(config.data) as dataset,
        assemble(fitted(config, dataset), dataset, folder) as run,
    ):
        run.method.fit(run)
    return folder


# The last edits gradients by modality, from several backward passes over one graph.
@pytest.mark.parametrize("method", ["joint", "ogm-ge", "mmpareto"])
def test_pieces_train_as_the_whole_batch_does(task_shards, tmp_path, method):
    shards = task_shards("classification")
    whole = trained(shards, tmp_path / "whole", method=method)
    pieces = trained(shards, tmp_path / "pieces", method=method, batch_size=1, accumulate=4)
    states = [checkpoint.load(folder / CHECKPOINT) for folder in (whole, pieces)]
    weights, others = (state["model"] for state in states)
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=1e-4, atol=1e-6, msg=name)
    assert states[0]["steps"] == states[1]["steps"] == 3
    (line,), (other,) = lines(whole), lines(pieces)
    assert other["train_loss"] == pytest.approx(line["train_loss"], rel=1e-5)
    assert [*other["logged"]] == [*line["logged"]]


def test_the_second_pass_leaves_statistics_and_modes_alone():
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    batch = Batch.unlabelled({"audio": inputs})

    def encode(rows):
        return {"audio": network(rows.inputs["audio"])}

    torch.manual_seed(1)
    encoded = encode_in_pieces(encode, batch, 2, [network])["audio"]
    statistics = network[1].running_mean.clone()
    network.eval()
    encoded.square().sum().backward()
    assert torch.equal(network[1].running_mean, statistics)
    assert network[1].num_batches_tracked == 2
    assert not network[1].training
    gradient = network[0].weight.grad.clone()

    network.train().zero_grad()
    torch.manual_seed(1)
    whole = torch.cat([encode(batch.rows(i, i + 4))["audio"] for i in (0, 4)])
    assert torch.equal(whole, encoded)
    whole.square().sum().backward()
    torch.testing.assert_close(network[0].weight.grad, gradient)


def test_a_method_that_needs_whole_batches_is_refused_by_name(task_shards, tmp_path):
    config = tiny(task_shards("classification"), method="greedy", fusion="mmtm", accumulate=2)
    config = replace(config, encoder="resnet18", settings={})
    with (
        open_dataset(config.data) as dataset,
        pytest.raises(ConfigError, match="greedy takes no --accumulate: it averages the gates"),
    ):
        assemble(fitted(config, dataset), dataset, tmp_path)
