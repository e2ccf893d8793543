"""PSP: the affinity and what is taken by it, by hand."""

import pytest
import torch

from mmtrain.errors import ConfigError
from mmtrain.models.fusions.psp import PSP, affinity
from mmtrain.models.layers import seeded
from tests.mmtrain.models.fusions.test_fusions import THREE, TWO, features, rounded

VISUAL = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
AUDIO = torch.tensor([[0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])
SMALL = {"segments": 3, "side": 2, "hidden": 8, "units": 4, "state": 4}


def test_affinity_by_hand():
    # Products over sqrt(2): (.565685, 0, .707107), (.678823, .565685, .424264), (.424264, .707107,
    # 0), each over its sum.
    expected = [0.44444, 0, 0.55556, 0.40678, 0.33898, 0.25424, 0.375, 0.625, 0]

    assert rounded(affinity(VISUAL, AUDIO, 0.2)) == expected


def test_segments_take_from_those_that_match_by_hand():
    visual = VISUAL + affinity(VISUAL, AUDIO, 0.2) @ AUDIO
    audio = AUDIO + affinity(AUDIO, VISUAL, 0.2) @ VISUAL

    assert rounded(visual) == [1.91111, 0.26667, 1.17966, 1.38305, 0.3, 1.85]
    assert rounded(audio) == [1.38305, 1.17966, 0.26667, 1.91111, 1.85, 0.3]


def test_weak_pairs_are_dropped_by_hand():
    # At .4 only the first entry of the second row is left, and the second of the third.
    visual = VISUAL + affinity(VISUAL, AUDIO, 0.4) @ AUDIO
    audio = AUDIO + affinity(AUDIO, VISUAL, 0.4) @ VISUAL

    assert rounded(visual) == [1.91111, 0.26667, 1.4, 1.4, 0, 2]
    assert rounded(audio) == [1.4, 1.4, 0.26667, 1.91111, 2, 0]


def test_a_segment_that_matches_nothing_takes_nothing():
    nothing = affinity(-VISUAL, AUDIO, 0.1)

    assert not nothing.any()
    assert not affinity(VISUAL, AUDIO, 0.99).any()


def made(modalities=TWO, **settings):
    with seeded(0):
        return PSP(dict.fromkeys(modalities, 6), 12, **{**SMALL, **settings})


@pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])
def test_all_parameters_learn(modalities):
    fusion = made(modalities)

    fusion(features(modalities, fusion.feature_widths)).square().sum().backward()

    for name, parameter in fusion.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_no_features_have_no_logits():
    # All the layers before the last are normalised or at rest: LN(0) = 0, and no layer behind it
    # has a bias.
    fusion = made()
    nothing = {m: torch.zeros(2, width) for m, width in fusion.feature_widths.items()}
    with torch.no_grad():
        for name, parameter in fusion.named_parameters():
            if "bias" in name:
                parameter.zero_()

    assert not fusion(nothing).any()
    given = features(TWO, fusion.feature_widths, batch=2)
    alone = fusion({**given, "audio": nothing["audio"]})
    torch.testing.assert_close(fusion.split(given)["visual"], alone)


def test_parameters_are_checked():
    with pytest.raises(ConfigError, match=r"psp labels .* 12 logits are not those of 7 segments"):
        made(segments=7)
    with pytest.raises(ConfigError, match=r"threshold and dropout are in \[0, 1\); got 1.0, 0.0"):
        made(threshold=1.0)
