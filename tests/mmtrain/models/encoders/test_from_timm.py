"""Models of timm; skipped where the extra is not installed, but for the error that names it."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torchvision.models.resnet import resnet18

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.models.encoders.from_timm import Timm
from mmtrain.models.encoders.resnet import ResNet18
from mmtrain.models.layers import seeded

ABSENT = find_spec("timm") is None
needs_timm = pytest.mark.skipif(ABSENT, reason="the extra timm is not installed")
# Channels first, channels last, a transformer's tokens, and a layer behind the pooling.
KINDS = {
    "convnext_atto": 32,
    "swin_tiny_patch4_window7_224": 224,
    "vit_tiny_patch16_224": 224,
    "mobilenetv3_small_050": 32,
}


@pytest.mark.skipif(not ABSENT, reason="timm is installed")
def test_without_timm_the_extra_is_named():
    with pytest.raises(ConfigError, match=r"install the extra: pip install mmprep\[timm\]"):
        Timm(3)


@needs_timm
@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_models_of_every_kind_give_features_and_tokens(name):
    encoder = Timm(2, name=name).eval()
    clip = torch.randn(1, 2, 2, KINDS[name], KINDS[name])

    feature, tokens = encoder(clip), encoder.tokens(clip)

    assert feature.shape == (1, encoder.width)
    assert tokens.shape[::2] == (1, encoder.token_width)
    assert tokens.shape[1] % 2 == 0


@needs_timm
@torch.no_grad()
def test_timms_resnet18_is_torchvisions(tmp_path):
    path = tmp_path / "resnet18.pth"
    with seeded(1):
        torch.save(resnet18(weights=None).state_dict(), path)
    clip = torch.randn(2, 3, 1, 64, 64)

    ours, theirs = ResNet18(1, weights=path).eval(), Timm(1, weights=path).eval()

    torch.testing.assert_close(theirs(clip), ours(clip), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(theirs.tokens(clip).mean(1), ours(clip), rtol=1e-4, atol=1e-5)


@needs_timm
def test_weights_of_another_model_are_a_wrong_request(tmp_path):
    torch.save(resnet18(weights=None).state_dict(), tmp_path / "w.pth")

    with pytest.raises(ConfigError, match=r"no state dict of convnext_atto: stem.0.weight is abs"):
        Timm(3, name="convnext_atto", weights=tmp_path / "w.pth")


@needs_timm
def test_an_unknown_model_offers_the_nearest():
    with pytest.raises(UnknownName, match=r"no timm model 'convnext_tinny'.*convnext_tiny"):
        Timm(3, name="convnext_tinny")


@needs_timm
def test_a_missing_file_is_a_wrong_request():
    with pytest.raises(ConfigError, match="cannot read weights"):
        Timm(3, weights=Path("nowhere.pth"))
