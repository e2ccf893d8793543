"""MWTSM: windows by hand, and what takes part in the attention among them."""

import pytest
import torch

from mmtrain.errors import ConfigError
from mmtrain.models.fusions.joint_tokens import JointTransformer
from mmtrain.models.fusions.mwtsm import MWTSM, windows
from mmtrain.models.layers import seeded
from tests.mmtrain.models.fusions.test_fusions import THREE, TWO, features

SMALL = {"steps": 6, "size": 4, "hop": 2, "hidden": 8, "layers": 1, "heads": 2}


def test_windows_by_hand():
    assert windows(30, 12, 6) == [(0, 12), (6, 18), (12, 24), (18, 30)]
    assert windows(7, 4, 2) == [(0, 4), (2, 6)]
    assert windows(4, 4, 2) == [(0, 4)]
    assert len(windows(30, 4, 2)) == 14


def made(modalities=TWO, **settings):
    with seeded(0):
        return MWTSM(dict.fromkeys(modalities, 3), 4, **{**SMALL, **settings})


def test_windows_of_steps_are_cut_by_hand():
    steps = torch.arange(6.0).view(1, 6, 1)

    assert made().cut(steps).tolist() == [[[0, 1, 2, 3], [2, 3, 4, 5]]]


@pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])
def test_all_parameters_learn(modalities):
    fusion = made(modalities)

    fusion(features(modalities, fusion.feature_widths)).square().sum().backward()

    for name, parameter in fusion.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_tokens_of_zeros_take_no_part():
    with seeded(0):
        mixer = JointTransformer(
            "any", {"audio": (3, 2), "visual": (2, 2)}, hidden=8, layers=2, heads=2
        )
        alone = JointTransformer("any", {"audio": (3, 2)}, hidden=8, layers=2, heads=2)
    kept = {name: value for name, value in mixer.state_dict().items() if "visual" not in name}
    alone.load_state_dict(kept)
    given = {"audio": torch.randn(4, 3, 2), "visual": torch.zeros(4, 2, 2)}

    torch.testing.assert_close(mixer(given), alone({"audio": given["audio"]}))
    assert not mixer({m: torch.zeros_like(x) for m, x in given.items()}).any()


def test_modalities_meet_in_the_transformer():
    fusion = made()
    given = features(TWO, fusion.feature_widths)
    shares = fusion.split(given)

    interaction = fusion(given) - sum(shares.values())

    assert interaction.abs().max() > 1e-3


def test_sizes_are_checked():
    with pytest.raises(ConfigError, match=r"size is from 1 to steps .* got size 7, steps 6, hop 2"):
        made(size=7)
    with pytest.raises(ConfigError, match=r"mwtsm's layers .* got 1 layers, 3 heads, hidden 8"):
        made(heads=3)
    with pytest.raises(ConfigError, match="mwtsm needs two modalities or more; got audio"):
        made(("audio",))
