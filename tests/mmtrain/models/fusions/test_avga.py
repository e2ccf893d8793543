"""AVGA: the attention by hand, and what one segment takes from the others."""

import pytest
import torch
from torch import nn

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.models.fusions.avga import AVGA
from mmtrain.models.fusions.guided import GuidedAttention, GuidedSteps
from mmtrain.models.layers import seeded
from tests.mmtrain.models.fusions.test_fusions import THREE, TWO, features, fill, rounded

EYE = [[1.0, 0.0], [0.0, 1.0]]
SMALL = {"segments": 3, "side": 2, "hidden": 8, "units": 4, "state": 4}


@pytest.fixture
def attention():
    layer = GuidedAttention(2, 2, hidden=2, units=2)
    fill(layer.place, EYE, [0.0, 0.0])
    fill(layer.guide, EYE, [0.0, 0.0])
    with torch.no_grad():
        layer.place_units.weight.copy_(torch.tensor(EYE))
        layer.guide_units.weight.copy_(torch.tensor(EYE))
        layer.score.weight.copy_(torch.tensor([[1.0, -1.0]]))
    return layer


def test_attention_to_three_places_by_hand(attention):
    # The guide (1, -1) is (1, 0) behind relu; tanh(V + (1, 0)) = (.964028, 0), (.761594, .761594),
    # (.964028, .761594); with w = (1, -1) scores .964028, 0, .202433.
    places = torch.tensor([[[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]]])
    guide = torch.tensor([[[1.0, -1.0]]])

    assert rounded(attention.weights(places, guide)) == [0.54104, 0.20633, 0.25263]
    assert rounded(attention(places, guide)) == [0.79367, 0.45896]


def test_each_step_is_guided_by_its_own_second(attention):
    places = torch.tensor([[[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]]]).repeat(1, 2, 1, 1)
    guide = torch.tensor([[[1.0, -1.0], [-1.0, -1.0]]])

    attended = attention(places, guide)

    assert rounded(attended[:, 0]) == [0.79367, 0.45896]
    torch.testing.assert_close(attended[:, 1:], attention(places[:, 1:], guide[:, 1:]))
    assert not torch.allclose(attended[:, 0], attended[:, 1])


def test_the_guide_and_modalities_of_one_place_are_not_attended():
    shapes = {"audio": (2, 1, 3), "visual": (2, 4, 5), "flow": (2, 4, 5)}

    assert [*GuidedSteps(shapes, "audio", 4, 4).attentions] == ["visual", "flow"]
    by_flow = GuidedSteps(shapes, "flow", 4, 4)
    assert [*by_flow.attentions] == ["visual"]
    flow = torch.randn(1, 2, 4, 5)
    steps = by_flow(
        {"audio": torch.randn(1, 2, 1, 3), "visual": torch.randn(1, 2, 4, 5), "flow": flow}
    )
    torch.testing.assert_close(steps["flow"], flow.mean(2))


def made(modalities=TWO, classes=12, **settings):
    with seeded(0):
        return AVGA(dict.fromkeys(modalities, 6), classes, **{**SMALL, **settings})


def test_features_are_seconds_and_places_side_by_side():
    assert made().feature_widths == {"audio": 3 * 6, "visual": 3 * 4 * 6}


def test_logits_of_a_segment_know_all_segments_and_come_in_order():
    # With readers at rest both directions are 0, and all segments have the same logits; where they
    # are not, the last second changes the first segment.
    fusion = made()
    given = features(TWO, fusion.feature_widths, batch=2)
    later = {**given, "audio": given["audio"].detach().clone()}
    later["audio"][:, -6:] += 1

    change = (fusion(later) - fusion(given)).view(2, 3, 4).abs().sum((0, 2))

    assert (change > 0).all()
    assert change[2] == change.max()
    for parameter in fusion.readers.parameters():
        nn.init.zeros_(parameter)
    rows = fusion(given).view(2, 3, 4)
    assert torch.equal(rows, rows[:, :1].expand_as(rows))


def test_logits_do_not_depend_on_the_order_of_places():
    fusion = made(THREE)
    given = features(THREE, fusion.feature_widths)
    turned = given["visual"].view(5, 3, 4, 6).flip(2).flatten(1)

    torch.testing.assert_close(fusion({**given, "visual": turned}), fusion(given))


def test_segments_and_the_guide_are_checked():
    with pytest.raises(ConfigError, match="task's 12 logits are not those of 5 segments"):
        made(segments=5)
    with pytest.raises(UnknownName, match=r"avga\.guide 'audoi'"):
        made(guide="audoi")
    with pytest.raises(ConfigError, match="avga takes sizes of 1 or more; got side 0"):
        made(side=0)
