"""Files of weights, whatever wrote them."""

import logging

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmtrain.errors import ConfigError
from mmtrain.models.encoders.weights import Source, load_weights, read_state


def net(channels=3):
    return nn.Sequential(nn.Conv2d(channels, 2, 1), nn.Conv2d(2, 2, 1))


def source(path):
    return Source(path, "state dict of net", "get another")


def fill(into, path, **settings):
    load_weights(into, source(path), stem="0.weight", channels=into[0].in_channels, **settings)


@pytest.fixture
def state():
    return {k: torch.rand_like(v) for k, v in net().state_dict().items()}


@pytest.mark.parametrize("nest", [(), ("state_dict",), ("model", "state_dict"), ("model_ema",)])
def test_a_checkpoint_holds_the_state_dict(tmp_path, state, nest):
    saved = state
    for key in nest:
        saved = {key: saved, "epoch": 3}
    torch.save(saved, tmp_path / "w.pth")

    found = read_state(source(tmp_path / "w.pth"))

    assert found.keys() == state.keys()


def test_names_of_a_model_that_was_trained_on_several_devices(tmp_path, state):
    torch.save({f"module.{k}": v for k, v in state.items()}, tmp_path / "w.pth")

    assert read_state(source(tmp_path / "w.pth")).keys() == state.keys()


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_first_convolution_is_fitted_to_the_channels(tmp_path, state, channels):
    torch.save(state, tmp_path / "w.pth")
    filled = net(channels)

    fill(filled, tmp_path / "w.pth")

    stem = state["0.weight"]
    mean = stem.mean(1, keepdim=True).expand(-1, channels, -1, -1)
    assert torch.equal(filled[0].weight, stem if channels == 3 else mean)
    assert torch.equal(filled[1].weight, state["1.weight"])


def test_what_is_missing_is_listed(tmp_path, state):
    del state["1.weight"], state["0.bias"]
    torch.save({**state, "head": torch.ones(1)}, tmp_path / "w.pth")

    with pytest.raises(ConfigError, match=r"missing 0.bias, 1.weight and unexpected head; get"):
        fill(net(), tmp_path / "w.pth", exact=False)


def test_what_is_left_over_is_logged_or_an_error(tmp_path, state, caplog):
    torch.save({**state, "extra.a": torch.ones(1), "fc.bias": torch.ones(1)}, tmp_path / "w.pth")

    with caplog.at_level(logging.WARNING):
        fill(net(), tmp_path / "w.pth", classifiers=("fc.",), exact=False)
    assert [r.getMessage() for r in caplog.records] == [f"{tmp_path / 'w.pth'}: not used: extra.a"]
    with pytest.raises(ConfigError, match=r"unexpected extra\.a; get another"):
        fill(net(), tmp_path / "w.pth", classifiers=("fc.",))


def test_another_shape_is_an_error(tmp_path, state):
    state["1.weight"] = torch.ones(3, 2, 1, 1)
    torch.save(state, tmp_path / "w.pth")

    with pytest.raises(ConfigError, match=r"size mismatch for 1.weight"):
        fill(net(), tmp_path / "w.pth", exact=False)


def test_safetensors_are_read(tmp_path, state):
    save_file(state, tmp_path / "w.safetensors")

    assert read_state(source(tmp_path / "w.safetensors")).keys() == state.keys()


def test_broken_safetensors_are_a_wrong_request(tmp_path):
    (tmp_path / "w.safetensors").write_text("not weights")

    with pytest.raises(ConfigError, match="safetensors cannot read it"):
        read_state(source(tmp_path / "w.safetensors"))
