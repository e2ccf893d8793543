"""Features by steps of time and places, from the maps of encoders."""

import pytest
import torch
from torch.nn import functional as F

from mmtrain.errors import ConfigError
from mmtrain.modalities import SEQUENCE
from mmtrain.models.encoders import Encoder, InputSize
from mmtrain.models.encoders.base import Pictures
from mmtrain.models.encoders.transformer import Transformer
from mmtrain.models.fusions.steps import averaged, segment_outputs, steps_of


class Eye(Pictures):
    """An encoder whose maps are its input."""

    def blocks(self):
        return []


def test_runs_are_averaged_by_hand():
    # Five into two overlap in the middle one; two into four repeat.
    assert averaged(torch.tensor([1.0, 2, 3, 4, 8]), 0, 2).tolist() == [2, 5]
    assert averaged(torch.tensor([1.0, 3]), 0, 4).tolist() == [1, 1, 3, 3]


@pytest.mark.parametrize(("count", "runs"), [(7, 3), (3, 7), (10, 10), (1, 4), (13, 10)])
def test_runs_are_those_of_adaptive_pooling(count, runs):
    maps = torch.randn(2, count, 3)

    expected = F.adaptive_avg_pool1d(maps.transpose(1, 2), runs).transpose(1, 2)

    torch.testing.assert_close(averaged(maps, 1, runs), expected)


def test_pictures_have_the_steps_of_their_time_and_places_row_by_row():
    # Ten pictures of 2 x 2 with one channel: each second is a picture, each pixel a place.
    clip = torch.arange(40.0).view(1, 10, 1, 2, 2)

    steps = steps_of("visual", Eye(), clip, steps=10, side=2)

    assert steps.shape == (1, 10, 4, 1)
    assert steps.flatten().tolist() == clip.flatten().tolist()
    assert steps_of("visual", Eye(), clip, steps=5, side=1).flatten().tolist() == [
        3.5,
        11.5,
        19.5,
        27.5,
        35.5,
    ]


def test_columns_of_a_spectrogram_are_its_time():
    # Rows 0 1 2 3 and 10 11 12 13: frequencies are averaged, columns in pairs.
    clip = torch.tensor([[0.0, 1, 2, 3], [10, 11, 12, 13]]).view(1, 1, 1, 2, 4)

    steps = steps_of("audio", Eye(), clip, steps=2, side=7)

    assert steps.shape == (1, 2, 1, 1)
    assert steps.flatten().tolist() == [5.5, 7.5]


def test_padding_of_a_sequence_counts_nowhere():
    encoder = Transformer(InputSize(3, SEQUENCE, (6, 4)), width=8, layers=1, heads=2)
    given = torch.zeros(1, 6, 4)
    given[0, :3] = torch.cat([torch.randn(3, 3), torch.ones(3, 1)], dim=-1)

    steps = steps_of("speech", encoder, given, steps=3, side=1)
    tokens = encoder.tokens(given)

    assert steps.shape == (1, 3, 1, 8)
    # Runs of two: both real, one real, none.
    torch.testing.assert_close(steps[0, 0, 0], tokens[0, :2].mean(0))
    torch.testing.assert_close(steps[0, 1, 0], tokens[0, 2])
    assert not steps[0, 2].any()


def test_an_encoder_without_maps_is_named():
    class Vector(Encoder):
        width = 2

    with pytest.raises(ConfigError, match="encoder Vector of visual gives no maps by time"):
        steps_of("visual", Vector(), torch.zeros(1, 2, 3, 8, 8), steps=2, side=1)


def test_segments_divide_the_logits():
    assert segment_outputs("avga", 290, 10) == 29
    with pytest.raises(ConfigError, match=r"avga labels every segment.* 31 logits .* 10 segments"):
        segment_outputs("avga", 31, 10)
