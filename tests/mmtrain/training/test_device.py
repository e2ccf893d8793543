"""Which device a rank takes, of a CUDA that is faked: there is no GPU where these tests run."""

import pytest
import torch

from mmtrain.errors import ConfigError
from mmtrain.models.encoders.small_cnn import SmallCNN
from mmtrain.training.device import (
    channels_last,
    copy_batch,
    copy_to,
    device_of,
    place,
    place_channels_last,
    set_up,
)
from mmtrain.types import Batch
from tests.support.fakecuda import FakeCuda


@pytest.fixture
def rank(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    return lambda value: monkeypatch.setenv("LOCAL_RANK", str(value))


@pytest.mark.parametrize("devices", [1, 2, 4])
@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_rank_takes_its_own_device(rank, devices, name):
    for local in range(devices):
        rank(local)
        cuda = FakeCuda(devices)
        assert set_up(name, cuda) == torch.device("cuda", local)
        assert cuda.calls == [("set_device", local), ("tune",)]


@pytest.mark.usefixtures("rank")
@pytest.mark.parametrize("devices", [1, 2, 4])
def test_without_torchrun_it_is_the_first(devices):
    assert set_up("cuda", FakeCuda(devices)) == torch.device("cuda", 0)


@pytest.mark.parametrize("local", [1, 3])
def test_one_visible_device_is_taken_whatever_the_rank(rank, local):
    # Slurm shows each task the one GPU that it has been given.
    rank(local)
    cuda = FakeCuda(1)
    assert set_up("cuda", cuda) == torch.device("cuda", 0)
    assert cuda.calls[0] == ("set_device", 0)


@pytest.mark.parametrize(("devices", "local"), [(2, 2), (2, 3), (4, 4)])
def test_a_rank_without_a_device_is_refused_by_name(rank, devices, local):
    rank(local)
    cuda = FakeCuda(devices)
    with pytest.raises(ConfigError, match=rf"local rank {local} has no device.* sees {devices}"):
        set_up("cuda", cuda)
    assert not cuda.calls


@pytest.mark.usefixtures("rank")
def test_a_device_by_number():
    cuda = FakeCuda(4)
    assert set_up("cuda:2", cuda) == torch.device("cuda", 2)
    assert cuda.calls[0] == ("set_device", 2)
    with pytest.raises(ConfigError, match="--device cuda:4 has no device"):
        set_up("cuda:4", cuda)


def test_one_device_by_number_is_not_for_several_ranks(rank):
    rank(1)
    with pytest.raises(ConfigError, match="the local rank is 1; choose --device cuda"):
        set_up("cuda:1", FakeCuda(2))


@pytest.mark.usefixtures("rank")
def test_where_there_is_no_device():
    none = FakeCuda(0)
    assert device_of("auto", none) == set_up("auto", none) == torch.device("cpu")
    assert set_up("cpu", FakeCuda(2)) == torch.device("cpu")
    with pytest.raises(ConfigError, match="no CUDA device here"):
        set_up("cuda", none)
    assert not none.calls


def test_spectrograms_and_weights_get_channels_last_strides():
    # On "meta" tensors have strides and no memory, so the layout for CUDA shows without one.
    model = place_channels_last(SmallCNN(3, width=64), torch.device("meta"))
    assert all(
        p.is_contiguous(memory_format=torch.channels_last)
        for p in model.parameters()
        if p.ndim == 4
    )
    inputs = {"audio": torch.zeros(2, 2, 5, 4), "visual": torch.zeros(2, 3, 3, 4, 4)}
    here = channels_last(Batch.unlabelled(inputs))
    assert here.inputs["audio"].is_contiguous(memory_format=torch.channels_last)
    assert here.inputs["visual"].is_contiguous()


def test_on_the_cpu_layouts_stay():
    batch = Batch.unlabelled({"audio": torch.zeros(2, 2, 5, 4)})
    assert copy_batch(batch, torch.device("cpu")).inputs["audio"].is_contiguous()
    model = place(SmallCNN(3, width=64), torch.device("cpu"))
    assert all(p.is_contiguous() for p in model.parameters())


def test_a_copy_shares_nothing():
    value = {"a": [torch.ones(2), (torch.zeros(1), 3)], "b": "c"}
    copied = copy_to(torch.device("cpu"), value)
    value["a"][0].zero_()
    assert copied["a"][0].tolist() == [1, 1]
    assert copied["a"][1][1] == 3
    assert copied["b"] == "c"
